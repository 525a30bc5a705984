"""The Hugging Face hub, from which timm's weights come: a quick look, and the download of a file.

Without a network the hub's own client tries again and again, for minutes. So a run looks once, for a second,
and asks the client only if there was an answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from pepr_edge.errors import ModelError
from pepr_edge.run_dir.store import disk_is_full, sha256_file
from pepr_edge.train.weights.finding import hub_files, url_path
from pepr_edge.zoo.pretrained import Pretrained

# Where a run asks, if HF_ENDPOINT does not name a mirror.
HUB = "https://huggingface.co"
# The whole look: the resolution of the name has no limit of its own.
LOOK_S = 1.5
# The look of a command that is there to download, maybe over a satellite.
PATIENT_LOOK_S = 15.0
# Of a look, the longest time for a connection, and for the answer.
ANSWER_SHARE = 2 / 3
# The longest time until a download begins.
START_S = 5.0
BAD_REQUEST = 400  # statuses from here on are refusals
TOO_MANY_REQUESTS = 429
SERVER_FAULT = 500  # statuses from here on say nothing about the file
# Most names of weights with a URL end with the first digits of the file's hash.
HASHED_NAME = re.compile(r"-([0-9a-f]{8,})\.[^.]+$")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class HubUnreachableError(ModelError):
    """The hub cannot be reached any more."""


def hub_fault(look_s: float = LOOK_S) -> str | None:
    """Return why the hub cannot be reached, after at most `look_s` seconds; None if it answers."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        variable = next((name for name in OFFLINE if os.environ.get(name)), OFFLINE[0])
        return f"{variable} is set"
    host = urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT
    faults: list[str | None] = []
    # A daemon: a name server that does not answer holds it for a minute.
    answer_s = ANSWER_SHARE * look_s
    look = Thread(target=lambda: faults.append(_look(constants.ENDPOINT, answer_s)), name="look", daemon=True)
    look.start()
    look.join(look_s)
    if not faults:
        return f"{host} does not answer within {look_s:g} s"
    return None if faults[0] is None else f"{host} cannot be reached: {faults[0]}"


class Connection:
    """The hub, as one command uses it: it looks once, before the first download, and stops when one fails."""

    def __init__(self, look_s: float = LOOK_S) -> None:
        self._look_s = look_s
        self._fault: str | None = None
        self._is_known = False

    def download(self, pretrained: Pretrained) -> Path:
        """Download a file into the cache, and return its path there.

        Raises:
            HubUnreachableError: the hub does not answer, or did not before.
            ModelError: there is no such file.
        """
        if not self._is_known:
            self._fault = hub_fault(self._look_s)
            self._is_known = True
        if self._fault is not None:
            raise HubUnreachableError(self._fault)
        try:
            return download(pretrained)
        except HubUnreachableError as error:
            self._fault = str(error)
            raise


def _look(url: str, answer_s: float) -> str | None:
    """Ask for a page's head; return why there is no answer, else None.

    A mirror may serve files and no page of its own, so it is reached if it answers.
    """
    try:
        status = _status(url, answer_s)
    except Exception as fault:  # the clients of different versions have no common error class
        return _cause(fault)
    is_refusal = status >= BAD_REQUEST if url == HUB else _is_out_of_order(status)
    return f"status {status}" if is_refusal else None


def _is_out_of_order(status: int) -> bool:
    """True for an answer that says nothing about what was asked for."""
    return status == TOO_MANY_REQUESTS or status >= SERVER_FAULT


def _status(url: str, timeout_s: float) -> int:
    """Ask for a page's head, once, and return the status of the answer."""
    from huggingface_hub.utils import get_session

    return int(get_session().head(url, timeout=timeout_s).status_code)


def _cause(fault: BaseException) -> str:
    """Return in a few words why a connection failed."""
    text = f"{type(fault).__name__} {fault}".lower()
    causes = {
        "proxy": "the proxy refuses",
        "resol": "its name is not found",
        "name or service": "its name is not found",
        "getaddrinfo": "its name is not found",
        "timed out": "no answer in time",
        "timeout": "no answer in time",
        "certificate": "its certificate is not accepted",
        "refused": "the connection is refused",
        "unreachable": "the network is unreachable",
    }
    return next((cause for part, cause in causes.items() if part in text), type(fault).__name__)


def download(pretrained: Pretrained) -> Path:
    """Download a file into the cache, and return its path there.

    Raises:
        HubUnreachableError: the connection failed, or the hub does not serve files now.
        ModelError: there is no such file.
    """
    if not pretrained.repository:
        return _download_url(pretrained)
    from huggingface_hub import hf_hub_download, hf_hub_url

    for name in hub_files(pretrained):
        try:
            # Without this look the client would ask six times, for 23 seconds, if the connection breaks now.
            status = _status(hf_hub_url(pretrained.repository, name), START_S)
            if status < BAD_REQUEST:
                with _without_progress_bars():
                    return Path(hf_hub_download(pretrained.repository, name, etag_timeout=START_S))
        except Exception as fault:  # see _look
            if disk_is_full(fault):
                raise
            raise HubUnreachableError(f"{pretrained.name}: {_cause(fault)}") from None
        if _is_out_of_order(status):
            raise HubUnreachableError(f"{pretrained.name}: the hub is busy or out of order, status {status}")
    raise ModelError(f"{pretrained.name}: the hub has no such weights")


def _download_url(pretrained: Pretrained) -> Path:
    import pooch  # type: ignore[import-untyped,unused-ignore]

    path = url_path(pretrained)
    pooch.get_logger().setLevel("WARNING")  # else it prints paths over our progress bar
    downloader = pooch.HTTPDownloader(progressbar=False, timeout=START_S)
    try:
        pooch.retrieve(pretrained.url, None, path.name, path.parent, downloader=downloader)
    except Exception as fault:  # see _look
        if disk_is_full(fault):
            raise
        raise HubUnreachableError(f"{pretrained.name}: {_cause(fault)}") from None
    hashed = HASHED_NAME.search(path.name)
    if hashed is not None and not sha256_file(path).startswith(hashed[1]):
        path.unlink()
        raise ModelError(f"{pretrained.name}: the download is not the file that timm names ({hashed[1]})")
    return path


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keep the client from drawing bars over ours."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    enable: Callable[[], None] = (lambda: None) if are_progress_bars_disabled() else enable_progress_bars
    disable_progress_bars()
    try:
        yield
    finally:
        enable()
