"""An option file has the user and the password; where the store is says [store] url alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.databases import server_only
from tests.support.diagnosis import doctor, only
from tests.support.drivers import driver
from tests.support.in_memory import Folders
from tests.support.look import status
from tests.support.mariadb import MariaDB
from tests.support.project import Project
from tests.support.server import PASSWORD, Server

__all__ = ["driver"]  # a fixture

pytestmark = server_only

TOML = """
[events]
purchased = ["log"]

[handlers]
log = { command = ["/bin/true"] }
"""


@pytest.fixture(scope="module")
def elsewhere(server_folders: Folders) -> Iterator[Server]:
    """Another server on this host, with the same user."""
    server = MariaDB(server_folders("elsewhere"))
    try:
        server.start()
        yield server
    finally:
        server.close()


def write(project: Project, options: str, password: str = PASSWORD) -> None:
    """Have the project take its user and password from an option file with these options."""
    assert project.server
    place = f"//127.0.0.1:{project.server.port}/"
    project.write(TOML, store='read_default_file = "my.cnf"')
    text = project.config.read_text().replace(f"//app:{PASSWORD}@{place[2:]}", place)
    project.config.write_text(text)
    file = project.folder / "my.cnf"
    file.write_text(
        f"# ours\n[client]\nuser = app\npassword = {password}\n{options}\n[mysqldump]\nquick\n",
        encoding="utf-8",
    )
    file.chmod(0o600)


@pytest.mark.parametrize(
    "options",
    [
        "socket = ELSEWHERE/s\nprotocol = socket",
        "host = 127.0.0.2\nport = ELSEPORT\nsocket = ELSEWHERE/s\ndatabase = mysql",
        "default-character-set = latin1\ninit-command = 'SET SESSION autocommit = 0'",
        "!includedir /etc/mysql/conf.d/\nskip-ssl-verify",
    ],
)
def test_the_url_says_where(
    project: Project, elsewhere: Server, driver: dict[str, str], options: str
) -> None:
    elsewhere.sql(f"CREATE DATABASE IF NOT EXISTS {project.database}")
    elsewhere.sql(f"GRANT ALL ON {project.database}.* TO 'app'@'127.0.0.1'")
    text = options.replace("ELSEWHERE", str(elsewhere.folder))
    write(project, text.replace("ELSEPORT", str(elsewhere.port)))
    assert project.run("emit", "--defer", "purchased", "é😀", env=driver).stdout == "1\n"
    assert project.run("sweep", env=driver).stderr == ""
    assert status(project, 1) == 2
    assert project.value("SELECT args FROM eventctl_event") == '["é😀"]'
    assert elsewhere.sql(f"SHOW TABLES IN {project.database}") == []


def test_localhost_with_a_port_is_that_port(
    project: Project, elsewhere: Server, driver: dict[str, str]
) -> None:
    """MySQL's own library takes that name for a socket, and leaves the port aside."""
    write(project, f"socket = {elsewhere.folder}/s")
    project.config.write_text(project.config.read_text().replace("//127.0.0.1:", "//localhost:"))
    assert project.run("emit", "--defer", "purchased", env=driver).stdout == "1\n"
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 1


@pytest.mark.parametrize("place", ["url", "file", "quoted in the file"])
def test_a_password_of_any_letters(project: Project, driver: dict[str, str], place: str) -> None:
    assert project.server
    password = "pä$ß #wörd 密"
    user = f"letters_{project.database}_{place[0]}"
    project.server.sql(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY %s", (password,))
    project.server.sql(f"GRANT ALL ON {project.database}.* TO '{user}'@'127.0.0.1'")
    if place == "url":
        project.write(TOML)
        text = project.config.read_text()
        encoded = password.replace("#", "%23").replace(" ", "%20")
        project.config.write_text(text.replace(f"app:{PASSWORD}", f"{user}:{encoded}"), "utf-8")
    else:
        quote = '"' if "quoted" in place else ""
        write(project, "", f"{quote}{password}{quote}")
        file = project.folder / "my.cnf"
        file.write_text(file.read_text("utf-8").replace("user = app", f"user = {user}"), "utf-8")
    done = project.run("emit", "--defer", "purchased", env=driver)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_an_option_file_that_others_can_read(project: Project) -> None:
    write(project, "")
    project.run("list")
    assert not [line for line in doctor(project) if "and so the password" in line.text]
    (project.folder / "my.cnf").chmod(0o644)
    line = only(doctor(project), "store", "others can read", "my.cnf, and so the password")
    assert (line.level, line.fix) == ("warning", f"chmod 600 {project.folder}/my.cnf")
