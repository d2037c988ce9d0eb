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
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STARTED, ANSWERED = 60, 60  # seconds for the server to start, and for a kernel or a browser to answer

CELLS = (
    "from bfr_lite.astronaut import astronaut\n"
    "from bfr_lite.widgets import check_button, degradation_playground\n"
    "degradation_playground(astronaut(64))",
    "def double(x):\n"
    "    return x + x\n\n\n"
    "def check_double(function):\n"
    "    assert function(3) == 6, f'double(3) should be 6, yours gives {function(3)}'\n"
    "    return 'double(3) is 6'\n\n\n"
    "check_button(check_double, lambda: double)",
    "def double(x):\n    return x * x\n\n\nprint('mended the wrong way')",
)


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of a Chromium, or a skip that says why."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(NAMES)}): apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Where a JupyterLab of the test's own, with nobody's settings, serves the notebook."""
    home = tmp_path_factory.mktemp("jupyter")
    work = home / "work"
    work.mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # without it, JupyterLab asks which
    cells = list(map(nbformat.v4.new_code_cell, CELLS))
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), work / "demo.ipynb")
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
    with (home / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/api/status?token={token}", server, home / "log.txt")
            yield f"http://127.0.0.1:{port}/doc/tree/demo.ipynb?token={token}"
        finally:
            server.terminate()  # ends its kernels, too
            server.wait(ANSWERED)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until_it_answers(url: str, server: subprocess.Popen, log: Path) -> None:
    """Return when the server answers; fail with its log when it ended, or after `STARTED` seconds."""
    deadline = time.monotonic() + STARTED
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)  # nothing but asking again tells when a server has begun to listen
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def page(chromium, address) -> Iterator[object]:
    """The notebook in a browser, every cell of it run."""
    with sync_api.sync_playwright() as playwright:
        # --no-sandbox: Chromium refuses to run as root, as in containers, with its sandbox
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1600})
        page.set_default_timeout(1000 * ANSWERED)
        sync_api.expect.set_options(timeout=1000 * ANSWERED)
        page.goto(address)
        # cells sent to a kernel that is not there yet are lost without a word
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.get_by_text("mended the wrong way", exact=True).wait_for()  # the last cell's output
        yield page
        browser.close()


def pixels(picture) -> np.ndarray:
    """What an element shows on the screen, (H, W, 3) in [0, 255]."""
    return np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB"), dtype=float)


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
    before, source = pixels(damaged), damaged.get_attribute("src")
    undamaged = pixels(clean)
    drag(page, slider, 1.0)
    sync_api.expect(slider.locator(".widget-readout")).to_have_text("1.00")
    sync_api.expect(damaged).not_to_have_attribute("src", source)
    assert np.abs(pixels(damaged) - before).mean() > 5
    assert np.abs(pixels(clean) - undamaged).mean() < 0.5


def test_the_check_button_answers_in_words(page):
    """It checks the function as it is when the button is pressed: the last cell had changed it."""
    page.get_by_role("button", name="Check my answer").click()
    sync_api.expect(page.get_by_text("double(3) should be 6, yours gives 9")).to_be_visible()
