"""Draws docs/images/companion.png in Chromium: `python -m tests.companion.picture`."""

import os
import tempfile
from pathlib import Path

from quorate.companion.settings import Settings
from tests.chromium import launched
from tests.companion.conftest import TOLD
from tests.companion.visitor import companion
from tests.cvat.local import PARTS, WORDS
from tests.cvat.server import PASSWORD, USER, Cvat, serving
from tests.cvat.servers import ROOT

PICTURE = ROOT / "docs/images/companion.png"
SIZE = {"width": 820, "height": 536}


def main() -> None:
    labels = [{"name": name, "attributes": TOLD} for name in WORDS]
    pictures = sorted((PARTS / "images").rglob("*.jpg"))[:18]
    with tempfile.TemporaryDirectory() as folder, serving(Cvat()) as cvat, launched() as browser:
        os.environ["XDG_STATE_HOME"] = folder
        task = cvat.add_task(pictures, labels)
        cvat.tasks[task]["name"] = "Machine parts, bench 1"
        specs, state = (str(PARTS / "spec.yaml"),), str(Path(folder, "companion"))
        settings = Settings.read(None, cvat=cvat.url, specs=specs, state=state)
        page = browser.new_page(viewport=SIZE)
        with companion(settings) as (url, _):
            page.goto(f"{url}/tasks/{task}/start/parts")
            page.get_by_label("User name").fill(USER)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").first.click()
            page.get_by_role("button", name="Run").click()
            page.get_by_role("link", name="Look at them in CVAT").wait_for(timeout=300_000)
            page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
