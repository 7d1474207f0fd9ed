"""What people see, in Chromium: the report's page as a file, and a project's records in MLflow's pages."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import reported
import tracked_project as project
from playwright.sync_api import Browser, Page, sync_playwright

from fieldmark.report import page as report
from fieldmark.report.pictures import sheet
from fieldmark.tracking import gate, registry
from fieldmark.tracking.store import connect

pytestmark = pytest.mark.browser

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PATIENCE = 60  # seconds until MLflow's server must answer
SHEET = "right and wrong.png"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        yield playwright.chromium.launch(executable_path=path, args=[*QUIET, "--disable-sync", "--no-first-run"])


class Watched:
    """A page of a fresh profile, with all it asked for and complained of."""

    def __init__(self, browser: Browser, width: int = 1280) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def see(self, text: str, *, exact: bool = False) -> None:
        """Wait until ``text`` can be read."""
        self.page.get_by_text(text, exact=exact).filter(visible=True).first.wait_for()


@pytest.fixture(scope="module")
def report_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    report.write(path, report.Content(**reported.example()))
    return path.as_uri()


def models_shown(page: Page) -> list[str]:
    names: list[str] = page.locator("#leaderboard tbody tr").evaluate_all("rows => rows.map(row => row.dataset.model)")
    return names


def test_report_asks_no_network_and_complains_of_nothing(browser: Browser, report_url: str) -> None:
    watched = Watched(browser)
    watched.page.goto(report_url)
    assert [url for url in watched.requests if not url.startswith("data:")] == [report_url]
    assert watched.complaints == []
    assert models_shown(watched.page) == reported.ORDER
    widths = watched.page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(widths) > 0
    assert min(widths) > 0, "a picture was not drawn"


def test_report_sorts_by_a_clicked_heading(browser: Browser, report_url: str) -> None:
    page = Watched(browser).page
    page.goto(report_url)
    column = page.locator("#leaderboard tbody td:nth-child(3)")
    worst = page.locator("#leaderboard").get_by_role("button", name="worst group")
    worst.click()
    assert column.evaluate_all("cells => cells.map(cell => +cell.dataset.value)") == [
        0.946, 0.91, 0.752, 0.721, 0.69, 0.31,
    ]  # fmt: skip
    assert models_shown(page)[0] == "oracle_mask"
    worst.click()
    assert models_shown(page) == ["inverted_mask", "random_mask", "erm", "ersm", "erm_unbiased", "oracle_mask"]
    page.locator("#leaderboard").get_by_role("button", name="model").click()
    assert models_shown(page) == sorted(reported.ORDER, reverse=True)


@pytest.mark.parametrize("width", [390, 1280])
def test_report_fits_the_screen_and_says_what_its_pictures_show(browser: Browser, report_url: str, width: int) -> None:
    page = Watched(browser, width).page
    page.goto(report_url)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img").count() == page.locator("img[alt]:not([alt=''])").count()
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "wide tables scroll inside their box"
    board = page.locator("#leaderboard table").bounding_box()
    assert board
    assert board["x"] + board["width"] <= width, "the leaderboard is seen whole"
    for model in reported.ORDER:
        assert page.locator("#leaderboard tbody th", has_text=model).first.is_visible()


def test_report_filters_models_by_name_and_kind_everywhere(browser: Browser, report_url: str) -> None:
    watched = Watched(browser)
    page = watched.page
    page.goto(report_url)
    assert page.locator("#filter output").inner_text() == "6 of 6 models"
    page.get_by_role("searchbox").fill("oracle inverted")
    two = ["oracle_mask", "inverted_mask"]
    for section in ("leaderboard", "variants", "groups", "failures"):
        shown = page.locator(f"#{section} tbody tr th").filter(visible=True).all_inner_texts()
        assert [name.split()[0] for name in shown] == two, section
    columns = page.locator("#measures thead th").filter(visible=True).all_inner_texts()
    assert [name.split()[0] for name in columns] == ["measure", "chance", *two]
    assert page.locator("#measures tbody tr").first.locator("td").filter(visible=True).count() == 3  # chance first
    assert page.locator("#strips details[open] tbody tr").filter(visible=True).count() == 2
    assert page.locator("#gallery details").filter(visible=True).count() == 2
    page.get_by_label("kind").select_option("baselines")
    assert page.locator("#filter output").inner_text() == "0 of 6 models"
    page.get_by_role("button", name="Show all").click()
    page.get_by_text("6 of 6 models").wait_for()
    assert models_shown(page) == reported.ORDER
    assert watched.complaints == []
    assert [url for url in watched.requests if not url.startswith("data:")] == [report_url]


def test_report_shows_one_models_pictures_and_unfolds_a_strip_by_keyboard(browser: Browser, report_url: str) -> None:
    page = Watched(browser).page
    page.goto(report_url)
    page.get_by_label("Show the pictures of").select_option("ersm")
    assert page.locator("#gallery details[open] > summary").all_inner_texts() == ["ersm: 4 pictures"]
    second = page.locator("#strips details").nth(1)
    assert not second.locator("img").first.is_visible()
    second.locator("summary").focus()
    page.keyboard.press("Enter")
    assert second.locator("img").filter(visible=True).count() == 8
    page.keyboard.press("Tab")  # into the table's box: arrow keys scroll it
    assert page.evaluate("document.activeElement.className") == "scroll tall"


def test_report_on_paper_is_unfolded_and_uncut(browser: Browser, report_url: str) -> None:
    page = Watched(browser, 1010).page  # A4 across, less its margins
    page.goto(report_url)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    cut = page.locator(".scroll").evaluate_all("all => all.filter(one => one.scrollWidth > innerWidth).length")
    assert cut == 0
    assert not page.locator("#filter").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    folded = page.locator("details:not([open])").count()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert page.locator("details:not([open])").count() == folded > 0


@pytest.mark.parametrize("width", [390, 1280])
def test_report_of_many_models_fits_the_screen_and_unfolds(browser: Browser, tmp_path: Path, width: int) -> None:
    report.write(tmp_path / "report.html", report.Content(**reported.many()))
    page = Watched(browser, width).page
    page.goto((tmp_path / "report.html").as_uri())
    board = page.locator("#leaderboard table").bounding_box()
    assert board
    assert board["x"] + board["width"] <= width, "the leaderboard is seen whole"
    kind = page.locator("#leaderboard th", has_text="kind")
    assert kind.is_visible() == (width > 640)
    first = page.locator("#gallery details").first
    assert not first.locator("img").first.is_visible()
    first.locator("summary").click()
    assert first.locator("img").first.is_visible()
    for folded in page.locator("details.kind > summary").all():
        folded.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def mlflow_url(mlruns: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a project with one registered champion as `fieldmark ui` does."""
    folder = tmp_path_factory.mktemp("mlflow")
    root = project.make(folder / "project", mlruns)
    _, version = project.register(root, [sheet(folder / SHEET, reported.example()["gallery"][:4])])
    with connect(root) as store:
        registry.promote(store, version, gate.first("erm"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fieldmark.cli", "--root", str(root), "ui", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log, subprocess.Popen(
        command, cwd=project.ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
    ) as server:  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            answers(f"{url}/health", server, folder / "log")
            yield url
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # its own session: the workers too


def answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server answers."""
    until = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no answer from {url}:\n{log.read_text()[-2000:]}")


@pytest.fixture
def records(browser: Browser, mlflow_url: str) -> Iterator[Watched]:
    """Yield MLflow's runs page; nothing may be asked of any other machine."""
    watched = Watched(browser)
    watched.page.goto(f"{mlflow_url}/#/experiments/1/runs?workflowType=machine_learning")
    yield watched
    away = [url for url in watched.requests if not url.startswith((mlflow_url, "data:", "blob:"))]
    assert away == []


def open_cells(page: Page) -> None:
    """Unfold the reproduction's row."""
    page.get_by_role("row").filter(has_text="reproduction").get_by_role("button").first.click()


def test_runs_list_shows_the_cells(records: Watched) -> None:
    records.see("+ opens its cells")
    open_cells(records.page)
    records.page.get_by_role("link", name="erm-0").first.wait_for()
    records.see("2 matching runs")


def test_run_shows_its_curves_measures_data_and_pictures(records: Watched) -> None:
    open_cells(records.page)
    records.page.get_by_role("link", name="erm-0").first.click()
    for text in ("test/worst_group", "0.75", project.DATA.name, "reproduction", "fieldmark.cell"):
        records.see(text)
    records.page.get_by_role("tab", name="Model metrics").click()
    records.see("erm-0 (loss)")  # the legend of a curve over epochs
    records.page.get_by_role("tab", name="Artifacts").click()
    records.page.get_by_text("pictures").first.click()
    records.page.get_by_text(SHEET).first.click()
    picture = records.page.locator(".image-outer-container img, img[src^='blob:'], img[src*='get-artifact']").first
    picture.wait_for()
    assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") == 640


def test_registered_model_shows_alias_and_lineage(records: Watched, mlflow_url: str) -> None:
    records.page.goto(f"{mlflow_url}/#/models/fieldmark")
    records.see("Image classifiers that decide from the object")
    records.see("@ champion")
    records.page.get_by_role("link", name="Version 1").first.click()
    records.see("@ champion")
    for tag in ("git_commit", "dvc_lock", "params", "requirements_lock", "source_index", "fingerprint"):
        records.see(f"fieldmark.{tag}", exact=True)
