"""What a browser asks, and gets.

Read `app` (requests and answers), `guard` (what holds for each of them), `frame` (what all pages
have in common), `pages` and `run_page`.
"""
