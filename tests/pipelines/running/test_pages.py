from pipelines.running.local import Run
from pipelines.running.pages import collect_pages

PAGE = "<!doctype html><html><head><title>{} · review sentiment</title></head></html>"


def made_run(folder, artifacts):
    for path, content in artifacts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return Run(folder, dict.fromkeys(dict.fromkeys(path.split("/")[0] for path in artifacts), 1.0))


def test_every_page_is_copied_and_named_after_its_title_in_the_order_of_the_steps(tmp_path):
    run = made_run(
        tmp_path,
        {
            "zebra/bias_page": PAGE.format("Tops &amp; more"),
            "zebra/summary": "{}",
            "apes/one_page": "<!DOCTYPE html><title>One</title>",
            "apes/two_page": "<!DOCTYPE html><p>without a title",
            "compose-report/report": PAGE.format("The run"),
        },
    )
    assert collect_pages(run) == [
        ("zebra", "Tops & more", "pages/zebra.html"),
        ("apes", "One", "pages/apes-one_page.html"),
        ("apes", "two page", "pages/apes-two_page.html"),
    ]
    assert (tmp_path / "pages/zebra.html").read_text() == PAGE.format("Tops &amp; more")


def test_a_run_without_pages_gets_no_folder(tmp_path):
    assert collect_pages(made_run(tmp_path, {"step/summary": "{}"})) == []
    assert not (tmp_path / "pages").exists()
