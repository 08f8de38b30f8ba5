"""Files for those who run the server: nothing here starts a container, but all that they say of this repository is so."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from starlette.routing import BaseRoute, Route

from lamps_jax.cli import app
from lamps_jax.serve.metrics import ServerMetrics
from lamps_jax.serve.routes import api_routes
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.state import ServerState
from tests.fakes import make_engine
from tests.serve.metrics.scrape import families

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(path for path in (DEPLOY / "docker").iterdir() if path.suffix in (".cpu", ".cuda"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
INSTRUCTION = re.compile(r"(FROM|WORKDIR|RUN|COPY|ENV|VOLUME|USER|EXPOSE|STOPSIGNAL|HEALTHCHECK|ENTRYPOINT|CMD) (.+)")


def serve_options() -> set[str]:
    """Every option of ``lamps-jax serve``."""
    command = typer.main.get_command(app).commands["serve"]  # pyright: ignore[reportAttributeAccessIssue]
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def check_command_line(arguments: list[str]) -> None:
    """Has the command line parsed, though not run."""
    command = typer.main.get_command(app).commands["serve"]  # pyright: ignore[reportAttributeAccessIssue]
    command.make_context("serve", list(arguments))


def routes() -> set[str]:
    served: list[BaseRoute] = api_routes(ServerState(), model_name="toy").routes
    return {route.path for route in served if isinstance(route, Route)}


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    lines = dockerfile.read_text().replace("\\\n", " ").splitlines()
    found = [INSTRUCTION.fullmatch(line) for line in lines if line and not line.startswith("#")]
    assert all(found), "an instruction that is none"
    return [(match[1], match[2].strip()) for match in found if match]


def the(dockerfile: Path, name: str) -> str:
    (value,) = [value for each, value in instructions(dockerfile) if each == name]
    return value


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_built_of_files_that_exist_and_are_let_in(dockerfile: Path):
    ignored = (dockerfile.parent / f"{dockerfile.name}.dockerignore").read_text().splitlines()
    copied = [value.split()[:-1] for name, value in instructions(dockerfile) if name == "COPY" and "--from" not in value]
    for source in [each for sources in copied for each in sources]:
        assert (ROOT / source).exists() and f"!{source}" in ignored
    assert next(line for line in ignored if not line.startswith("#")) == "*"
    extras = re.search(r"\.\[([a-z,]+)\]", dockerfile.read_text())
    assert extras and "-c constraints.txt" in dockerfile.read_text()
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in declared for extra in extras[1].split(","))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_has_two_stages_runs_as_nobody_special_and_holds_no_secret(dockerfile: Path):
    steps = instructions(dockerfile)
    bases = [value for name, value in steps if name == "FROM"]
    assert len(bases) == 2 and bases[0].endswith(" AS build") and all(":latest" not in base and ":" in base for base in bases)
    last = steps[max(number for number, step in enumerate(steps) if step[0] == "FROM") :]
    user = [value for name, value in last if name == "USER"]
    assert user == ["10001:10001"]
    assert not any("pip" in value for name, value in last if name == "RUN")
    assert not re.search(r"(?i)(api.?key|secret|token|password)", dockerfile.read_text())
    assert the(dockerfile, "STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_starts_the_server_and_asks_it_for_its_health(dockerfile: Path):
    entry, more = json.loads(the(dockerfile, "ENTRYPOINT")), json.loads(the(dockerfile, "CMD"))
    assert entry[:2] == ["lamps-jax", "serve"]
    check_command_line([*entry[2:], *more])
    port = the(dockerfile, "EXPOSE")
    assert entry[entry.index("--port") + 1] == port
    health = json.loads(the(dockerfile, "HEALTHCHECK").partition(" CMD ")[2])
    assert health[:2] == ["python", "-c"] and f":{port}/health" in health[2]
    compile(health[2], "health", "exec")
    cache = entry[entry.index("--compile-cache") + 1]
    assert the(dockerfile, "VOLUME") == cache and f"install -d -o lamps -g lamps {cache}" in dockerfile.read_text()


def documents(path: Path) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(path.read_text())}


def container_of(path: Path) -> dict[str, Any]:
    (container,) = documents(path)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return container


def value_of(arguments: list[str], option: str) -> str:
    (value,) = [argument.partition("=")[2] for argument in arguments if argument.partition("=")[0] == option]
    return value


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_starts_the_server_with_options_that_it_has(manifest: Path):
    arguments = container_of(manifest)["args"]
    assert {argument.partition("=")[0] for argument in arguments} <= serve_options()
    check_command_line(arguments)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_gives_the_server_the_time_to_end_that_it_takes(manifest: Path):
    container, pod = container_of(manifest), documents(manifest)["Deployment"]["spec"]["template"]["spec"]
    wait_s = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > wait_s + float(value_of(container["args"], "--shutdown-timeout"))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_the_probes_of_a_manifest_ask_for_routes_that_there_are_and_drain_before_they_kill(manifest: Path):
    container = container_of(manifest)
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {probe["path"] for probe in probes.values()} <= routes()
    assert probes["startup"]["path"] == probes["readiness"]["path"] == "/health" != probes["liveness"]["path"]
    assert "--exit-on-failure" in container["args"]  # as nobody looks at /health to end it
    names = {port["name"] for port in container["ports"]}
    assert {probe["port"] for probe in probes.values()} <= names
    service = documents(manifest)["Service"]["spec"]
    assert service["selector"] == documents(manifest)["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert {port["targetPort"] for port in service["ports"]} <= names


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_takes_the_keys_from_a_secret_and_gives_the_server_few_rights(manifest: Path):
    container, pod = container_of(manifest), documents(manifest)["Deployment"]["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounts.keys() == volumes.keys()
    assert volumes["keys"]["secret"]["secretName"] and mounts["keys"]["readOnly"]
    file = value_of(container["args"], "--api-key-file")
    assert file.startswith(mounts["keys"]["mountPath"]) and f"--from-file={Path(file).name}=" in manifest.read_text()
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    assert container["securityContext"]["readOnlyRootFilesystem"] and not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["resources"]["limits"]["memory"]
    caches = {each: json.loads(the(DEPLOY / "docker" / f"Dockerfile.{each}", "ENTRYPOINT"))[-1] for each in ("cpu", "cuda")}
    assert mounts["programs"]["mountPath"] == caches[container["image"].partition(":")[2]]


def test_the_manifest_for_gpus_asks_for_one():
    assert container_of(DEPLOY / "kubernetes" / "lamps-jax-gpu.yaml")["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_compose_starts_what_there_is():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    server = compose["services"]["lamps-jax"]
    assert (DEPLOY / server["build"]["context"]).resolve() == ROOT
    assert (ROOT / server["build"]["dockerfile"]).exists()
    check_command_line(server["command"])
    timeout = server["command"][server["command"].index("--shutdown-timeout") + 1]
    assert float(server["stop_grace_period"].removesuffix("s")) > float(timeout)
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists()
        assert all(each in compose["services"] for each in service.get("depends_on", []))
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["metrics_path"] in routes()
    assert scraped["static_configs"][0]["targets"][0].partition(":")[0] in compose["services"]
    provisioned = [yaml.safe_load(path.read_text()) for path in (DEPLOY / "grafana" / "provisioning").glob("*/*.yaml")]
    assert len(provisioned) == 2 and all(each["apiVersion"] == 1 for each in provisioned)


def exported() -> set[str]:
    """The name of every sample that a server on a device may show."""
    engine, metrics = make_engine(), ServerMetrics(lambda: engine.memory_state())
    metrics.attach(engine)
    metrics._state._block_bytes, metrics._state._attention = 1, "xla"
    metrics._state._compilations = type("None", (), {"count": 0})()
    names: set[str] = set()
    for name, family in families(metrics.text().decode()).items():
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {name + end for end in ends}
    return names


def test_every_metric_of_the_dashboard_is_one_that_the_server_shows_and_with_those_labels():
    dashboard = json.loads((DEPLOY / "grafana" / "lamps-jax.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = {name for expression in expressions for name in re.findall(r"lamps:\w+", expression)}
    assert len(asked) > 25 and asked <= exported()
    labels = {label for expression in expressions for label in re.findall(r"by \(([^)]+)\)", expression)}
    assert {each.strip() for label in labels for each in label.split(",")} <= {
        "le", "status", "code", "tool", "action", "handling", "cause", "direction", "finished_reason",
    }  # fmt: skip


def test_the_panels_of_the_dashboard_stand_beside_each_other():
    panels = json.loads((DEPLOY / "grafana" / "lamps-jax.json").read_text())["panels"]
    places = [(x, y) for panel in panels for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
              for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])]  # fmt: skip
    assert len(places) == len(set(places)) and max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_table_of_options_in_the_handbook_names_options_that_there_are():
    handbook = (ROOT / "docs" / "operations.md").read_text()
    named = set(re.findall(r"`(--[a-z-]+)", handbook))
    ours = {
        option for option in serve_options() if any(word in option for word in ("api-key", "metrics", "timeout", "log-", "otlp"))
    }
    assert ours <= named <= serve_options() | {"--from-file"}
    assert {"--max-queue-len", "--max-concurrent-requests", "--requests-per-minute", "--exit-on-failure"} <= named
    for line in handbook.splitlines():
        if line.startswith("lamps-jax serve "):
            check_command_line(shlex.split(line, comments=True)[2:])


def test_defaults_in_the_command_line_are_those_of_the_configuration():
    command = typer.main.get_command(app).commands["serve"]  # pyright: ignore[reportAttributeAccessIssue]
    defaults = {parameter.name: parameter.default for parameter in command.params}
    config = ServerConfig()
    for name in ("shutdown_timeout", "request_timeout", "queue_timeout"):
        assert defaults[name] == getattr(config, f"{name}_s")
    for name in ("max_queue_len", "max_concurrent_requests", "requests_per_minute", "log_format", "log_level", "exit_on_failure"):
        assert defaults[name] == getattr(config, name)
    assert tuple(defaults["metrics_aliases"].split(",")) == config.metrics_aliases
