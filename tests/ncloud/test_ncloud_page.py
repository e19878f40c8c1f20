"""docs/ncloud.md: every operation has its command and its test, and the commands do what the page says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from PIL import Image
from processes import free_port
from typer.main import get_command

from agent.cli import COMMANDS
from agent.sandbox.ncloud import Key, routes
from agent.sandbox.ncloud import process as ncloud
from agent.sandbox.ncloud.routes import ROUTES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ncloud.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\w+)[^|]*\| ([^|]+) \| ([^|]+) \| `([^|]+)` \|$", re.MULTILINE)
# The three documents: SendData, GetDashboardWidgetImage (with the calls that they need), and Data Flow's overview.
CLOUD_INSIGHT = [
    "SendData",
    "CreateCustomSchema",
    "GetProductSchema",
    "UpdateProductSchema",
    "DeleteProductSchema",
    "GetSystemSchemaKeyList",
    "QueryData",
    "GetDashboardList",
    "GetDashboardWidgetList",
    "GetDashboardWidgetImage",
]
DATA_FLOW = [
    "getExecutionResult",
    "getExecutionCount",
    "getExecutionTimes",
    "getWorkflows",
    "getWorkflowById",
    "createWorkflow",
    "updateWorkflow",
    "deleteWorkflow",
    "getWorkflowExecutions",
    "executeWorkflow",
    "getJobs",
    "getJobById",
    "createJob",
    "updateJob",
    "deleteJob",
    "verifyJob",
    "executeJob",
    "getJobExecutions",
    "getJobExecutionById",
    "updateJobExecuteConfig",
    "getTriggers",
    "getTriggerById",
    "createTrigger",
    "deleteTrigger",
]


def test_no_operation_of_the_documents_is_missing() -> None:
    assert [name for name, *_ in ROW.findall(PAGE)] == CLOUD_INSIGHT + DATA_FLOW


def test_the_requests_are_those_that_the_stand_in_knows() -> None:
    """It was written from the documents, and shares nothing with the clients."""
    told = set()
    for _, request, *_ in ROW.findall(PAGE):
        methods, path, _ = request.split("`")
        base = "/api/v1" if path.startswith(("/jobs", "/workflows", "/triggers", "/stats")) else ""
        told |= {(method, base + re.sub(r"{\w+}", "{}", path)) for method in re.findall("[A-Z]{3,}", methods)}
    known = {(method, re.sub(r"{\w+}", "{}", path)) for method, path in ROUTES}
    assert told == known - {("POST", routes.DEPRECATED)}


def _command(words: list[str]) -> bool:
    module, _, name = COMMANDS.get(words[0], ":").partition(":")
    if not module:
        return words == ["the sink"]
    found = getattr(import_module(module), name)
    if not isinstance(found, typer.Typer):
        return len(words) == 1
    command = get_command(found)
    for word in words[1:]:
        command = getattr(command, "commands", {}).get(word)
    return command is not None


@pytest.mark.parametrize("row", ROW.findall(PAGE), ids=lambda row: str(row[0]))
def test_each_operation_has_a_command_that_is_there_and_a_test_that_is_there(row: tuple[str, ...]) -> None:
    _, _, commands, test = row
    for command in re.findall(r"`([^`]+)`", commands):
        assert _command(command.split()), command
    path, _, name = test.partition("::")
    defined = {
        node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)
    }
    assert name in defined


@pytest.mark.timeout(120)
def test_the_commands_copied_one_after_the_other_lead_from_an_empty_account_to_a_picture(tmp_path: Path) -> None:
    """Only where the service is and on which port the agent tells its status are not the page's."""
    account, flow, job = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "hot.toml").write_text(job)
    commands = "".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    settings = {"visible_after": 0, "executions_take": 0.2}
    with ncloud.start(tmp_path / "journal", keys=[Key("AK_PAGE", "SK_PAGE_4711")], **settings) as cloud:
        config = account.replace("[sinks.insight]", f'[sinks.insight]\nurl = "{cloud.url}"', 1).replace(
            "9466", str(free_port())
        )
        (tmp_path / "agent.toml").write_text(config + flow.replace("[ncloud]", f'[ncloud]\nurl = "{cloud.url}"', 1))
        done = subprocess.run(
            ["bash", "-euc", f"trap 'kill $! && wait $!' EXIT\n{commands}"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "NCLOUD_ACCESS_KEY": "AK_PAGE",
                "NCLOUD_SECRET_KEY": "SK_PAGE_4711",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "insight is verified" in done.stdout
    assert "COMPLETED" in done.stdout
    assert "SK_PAGE_4711" not in done.stdout + done.stderr
    for picture in (tmp_path / "cpu.png", *(tmp_path / "pictures").glob("*.png")):
        with Image.open(picture) as opened:
            opened.load()
            assert (opened.format, opened.size) == ("PNG", (800, 600))
    assert len(list((tmp_path / "pictures").glob("*.png"))) > 20
    assert (tmp_path / "pictures" / "index.html").is_file()
