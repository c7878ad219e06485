"""E-mail: plain text by SMTP, encrypted unless the spec says otherwise."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from quorate.errors import NotificationError
from quorate.notifications.notice import Notice, line
from quorate.notifications.retrying import TIMEOUT, WAITS, TryAgainError, deliver
from quorate.notifications.secrets import reveal
from quorate.spec.notify import Email

PORTS = {"starttls": 587, "tls": 465, "none": 25}


def send(notice: Notice, target: Email, *, waits: Sequence[float] = WAITS) -> None:
    """Send one message to all recipients; NotificationError where that cannot be done."""
    password = reveal(target.password) if target.password else None
    mail = message(notice, target)
    deliver(lambda: _once(mail, target, password), waits=waits)


def message(notice: Notice, target: Email) -> EmailMessage:
    """The message; its id is the notice's, so that a copy can be told from a second event."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = f"[quorate] {notice.title}"
    mail["From"] = target.sender
    mail["To"] = ", ".join(target.to)
    mail["Date"] = format_datetime(notice.time)
    mail["Message-ID"] = f"<{notice.id}@{target.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    links = [f"{link.title}: {link.url}" for link in notice.links]
    text = "\n".join([notice.title, "", *notice.lines, *links, ""])
    mail.set_content(text, cte="quoted-printable")  # which every server passes on unharmed
    return mail


def _once(mail: EmailMessage, target: Email, password: str | None) -> None:
    port = target.port or PORTS[target.security]
    try:
        # Not the name that a resolver may take long to find.
        name = socket.gethostname()
        context = ssl.create_default_context()
        if target.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                target.host, port, local_hostname=name, timeout=TIMEOUT, context=context
            )
        else:
            server = smtplib.SMTP(target.host, port, local_hostname=name, timeout=TIMEOUT)
        with server:
            if target.security == "starttls":
                server.starttls(context=context)
            if target.username is not None and password is not None:
                server.login(target.username, password)
            refused = server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        raise _refusal(error.recipients) from None
    except smtplib.SMTPAuthenticationError as error:
        raise NotificationError(f"the server refuses the password ({error.smtp_code}).") from None
    except smtplib.SMTPResponseException as error:
        raise _answer(error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPNotSupportedError as error:
        raise NotificationError(
            f"the server offers less than is asked of it: {error}", hint="see `security`"
        ) from None
    except smtplib.SMTPServerDisconnected:
        raise TryAgainError("the server hung up") from None
    except ssl.SSLCertVerificationError:
        raise NotificationError(
            "the server's certificate is not trusted here.",
            hint="SSL_CERT_FILE names who to trust",
        ) from None
    except smtplib.SMTPException as error:
        raise NotificationError(f"the server cannot be used: {error}") from None
    except OSError as error:
        raise TryAgainError(
            f"the server cannot be reached ({error.strerror or type(error).__name__})"
        ) from None
    if refused:  # the others have it: another try would send it to them twice
        raise NotificationError(f"{_refused(refused)}.")


def _refusal(refused: dict[str, tuple[int, bytes]]) -> NotificationError | TryAgainError:
    later = all(400 <= code < 500 for code, _ in refused.values())
    why = _refused(refused)
    return TryAgainError(why) if later else NotificationError(f"{why}.")


def _refused(refused: dict[str, tuple[int, bytes]]) -> str:
    who = ", ".join(f"{address} ({code})" for address, (code, _) in refused.items())
    return f"the server refuses {who}"


def _answer(code: int, said: bytes | str) -> NotificationError | TryAgainError:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    why = f"the server answered {code} {line(text, 200)}"
    return TryAgainError(why) if 400 <= code < 500 else NotificationError(f"{why}.")
