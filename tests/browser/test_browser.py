"""A reader with a browser: JupyterLab runs a notebook in Chromium, the mouse moves a slider and presses a button."""

import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress

import nbformat
import numpy as np
import pytest
import skimage.data
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STARTED, ANSWERED = 60, 60  # seconds for the server to start, and for a kernel or a browser to answer

DEMO = (
    "from bfr_lite import labs\n"
    "from bfr_lite.astronaut import astronaut\n"
    "from bfr_lite.widgets import check_button, degradation_playground\n"
    "degradation_playground(astronaut(64))",
    "import torch.nn.functional as F\n\n\n"
    "def high_pass(x):\n"
    "    return x - F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)\n\n\n"
    "check_button(labs.check_high_pass, lambda: high_pass)",
    "def high_pass(x):\n    return x - F.avg_pool2d(x, 3, stride=1, padding=1)\n\n\nprint('mended the wrong way')",
)
PHOTO = ("from bfr_lite.widgets import photo_restorer\nphoto_restorer()", "print('ready for a photo')")


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of a Chromium, or a skip that says why."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(NAMES)}): apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Callable[[str], str]]:
    """A JupyterLab of the test's own, with nobody's settings: a function that turns a path into an address."""
    home = tmp_path_factory.mktemp("jupyter")
    work = home / "work"
    work.mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # without it, JupyterLab asks which
    for name, sources in (("demo", DEMO), ("photo", PHOTO)):
        cells = list(map(nbformat.v4.new_code_cell, sources))
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), work / f"{name}.ipynb")
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}  # no question over the page, nothing asked of the network
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    port, token = free_port(), secrets.token_hex(16)
    options = {"port": port, "port_retries": 0, "root_dir": work, "allow_root": True, "open_browser": False}
    command = [sys.executable, "-m", "jupyterlab", f"--IdentityProvider.token={token}", "--LabApp.news_url="]
    command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    own = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    own |= {"IPYTHONDIR": str(home / "ipython"), "OMP_NUM_THREADS": "1"}

    def address(path: str) -> str:
        return f"http://127.0.0.1:{port}/{path}?token={token}"

    with (home / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
        try:
            until(lambda: fetch(address("api/status")), STARTED, (home / "log.txt").read_text)
            yield address
        finally:
            process.terminate()  # ends its kernels, too
            process.wait(ANSWERED)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition: Callable[[], bool], seconds: float, complaint: Callable[[], str]) -> None:
    """Ask again and again, where no event tells; fail with the complaint when it has not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.2)


def fetch(url: str) -> object:
    """What a server of this machine answers, read as JSON; None while there is no answer."""
    local = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach it
    with suppress(OSError), local.open(url, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator[object]:
    """A browser without a window."""
    sync_api.expect.set_options(timeout=1000 * ANSWERED)
    with sync_api.sync_playwright() as playwright:
        # --no-sandbox: Chromium refuses to run as root, as in containers, with its sandbox
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser, server) -> Callable[[str, str], object]:
    """A function that opens a notebook in the browser, and runs every cell until the last one's text is there."""

    def open_notebook(name: str, last: str) -> object:
        page = browser.new_page(viewport={"width": 1200, "height": 1600})
        page.set_default_timeout(1000 * ANSWERED)
        before = len(fetch(server("api/kernels")) or ())
        page.goto(server(f"doc/tree/{name}.ipynb"))

        def talks() -> bool:  # cells that are run before the page talks to a kernel are lost, without a word
            kernels = fetch(server("api/kernels")) or ()
            return len(kernels) > before and all(kernel["connections"] for kernel in kernels)

        until(talks, ANSWERED, lambda: "no kernel came")
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.get_by_text(last, exact=True).wait_for()
        return page

    return open_notebook


@pytest.fixture(scope="module")
def page(opened) -> object:
    """The notebook of playground and check button."""
    return opened("demo", "mended the wrong way")


def pixels(picture) -> np.ndarray:
    """What an element shows on the screen, (H, W, 3) in [0, 255]."""
    return np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB"), dtype=float)


def apart(picture, before: np.ndarray) -> float:
    """By how much an element looks other than before, in levels of 255."""
    return np.abs(pixels(picture) - before).mean()


def drag(page, slider, share: float) -> None:
    """Take a slider's handle with the mouse and leave it at `share` of its track."""
    track, handle = slider.locator(".noUi-base").bounding_box(), slider.locator(".noUi-handle").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + share * track["width"], track["y"] + track["height"] / 2, steps=8)
    page.mouse.up()


def test_the_mouse_moves_a_slider_and_the_picture_changes(page):
    slider = page.locator(".widget-slider", has=page.get_by_text("severity", exact=True))
    clean, damaged = page.locator("img.widget-image").first, page.locator("img.widget-image").last
    before, source = {"clean": pixels(clean), "damaged": pixels(damaged)}, damaged.get_attribute("src")
    drag(page, slider, 1.0)
    sync_api.expect(slider.locator(".widget-readout")).to_have_text("1.00")
    sync_api.expect(damaged).not_to_have_attribute("src", source)
    # pictures of the positions in between come first
    until(lambda: apart(damaged, before["damaged"]) > 5, ANSWERED, lambda: "the picture did not change")
    assert apart(clean, before["clean"]) < 0.5


def test_the_check_button_answers_in_words(page):
    """A check of the labs, of the function as it is when the button is pressed: the last cell had changed it."""
    page.get_by_role("button", name="Check my answer").click()
    sync_api.expect(page.get_by_text("the border sees an edge that is none")).to_be_visible()


def test_a_photo_is_uploaded_restored_and_downloaded(opened, tmp_path):
    """All that a reader does with notebook 08: choose a file, turn the knob, make the file, save it."""
    page = opened("photo", "ready for a photo")
    photo = skimage.data.astronaut()[:256, 96:352]
    Image.fromarray(photo).save(tmp_path / "mine.png")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="your photo").click()
    chooser.value.set_files(tmp_path / "mine.png")
    sync_api.expect(page.get_by_text("1 found", exact=True)).to_be_visible()
    face = page.locator("img.widget-image").last
    source = face.get_attribute("src")
    drag(page, page.locator(".widget-slider", has=page.get_by_text("fidelity", exact=True)), 1.0)
    sync_api.expect(face).not_to_have_attribute("src", source)
    page.get_by_role("button", name="make the file").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download restored.png, 256x256 pixels").click()
    saved = np.asarray(Image.open(download.value.path()))
    assert download.value.suggested_filename == "restored.png" and saved.shape == photo.shape
    changed = (saved != photo).any(axis=-1)
    assert changed[128, 128] and not changed[:, :5].any(), "the face has changed, and the border of the photo has not"
