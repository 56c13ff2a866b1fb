"""Alerts, dashboard and compose.yaml fit together. `tests/server/test_metrics` gives them a system."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
RULES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
ALERTS = [rule["alert"] for rule in RULES]
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "objectvision.json").read_text())
PANELS = DASHBOARD["panels"]


@pytest.mark.prometheus
def test_alerts_fire_when_they_should_and_are_silent_otherwise():
    command = ["promtool", "test", "rules", DEPLOY / "prometheus" / "alerts.test.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_on_a_healthy_system_and_on_one_that_is_not():
    healthy, *others = yaml.safe_load((DEPLOY / "prometheus" / "alerts.test.yml").read_text())["tests"]
    assert {check["alertname"] for check in healthy["alert_rule_test"]} == set(ALERTS)
    fired = {
        check["alertname"] for test in others for check in test["alert_rule_test"] if "exp_alerts" in check
    }
    assert fired == set(ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=ALERTS)
def test_each_alert_has_a_severity_and_names_its_section_of_the_guide(rule):
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_the_guide_has_a_section_for_each_alert():
    chapter = (
        (ROOT / "docs" / "operations.md").read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    )
    described = [line[4:] for line in chapter.splitlines() if line.startswith("### ")]
    assert sorted(described) == sorted(ALERTS)


def test_the_dashboard_takes_its_data_from_the_chosen_prometheus():
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    asking = [panel for panel in PANELS if panel["type"] != "row"]
    sources = [panel["datasource"] for panel in asking]
    sources += [target["datasource"] for panel in asking for target in panel["targets"]]
    assert {json.dumps(source) for source in sources} == {
        json.dumps({"type": "prometheus", "uid": f"${{{variable['name']}}}"})
    }


def test_no_panels_lie_on_each_other():
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_monitoring_starts_only_with_its_profile_and_answers_on_this_machine_only():
    monitoring = {name for name, service in SERVICES.items() if service.get("profiles") == ["monitoring"]}
    assert monitoring == {"prometheus", "grafana", "flower"}
    for name in monitoring:
        assert [port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"]] == [True]
        assert "mem_limit" in SERVICES[name]


def test_prometheus_asks_the_web_service_with_the_token_that_compose_hands_over():
    (config,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = config["static_configs"][0]["targets"]
    host, port = target.split(":")
    environment = SERVICES[host]["environment"]
    assert environment["PORT"] == port
    assert host in environment["ALLOWED_HOSTS"].split(",")
    assert environment.items() >= SERVICES["inference"]["environment"].items()
    (secret,) = SERVICES["prometheus"]["secrets"]
    assert config["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert COMPOSE["secrets"][secret] == {"environment": "METRICS_TOKEN"}


def mounted(service):
    """The folders here, by their paths in the container."""
    volumes = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {inside: ROOT / here for here, inside, *_ in volumes if here.startswith("./")}


def test_grafana_finds_prometheus_and_the_dashboard():
    folders = mounted("grafana")
    provisioning = folders["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    port = SERVICES["prometheus"]["ports"][0].rpartition(":")[2]
    assert source["url"] == f"http://prometheus:{port}"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "objectvision.yml").read_text())["providers"]
    assert [file.name for file in folders[provider["options"]["path"]].iterdir()] == ["objectvision.json"]


def test_grafana_refuses_to_start_without_a_password():
    shell, option, script = SERVICES["grafana"]["entrypoint"]
    script = script.replace("$$", "$").replace("/run.sh", "echo started")

    def start(password):
        environment = {"GF_SECURITY_ADMIN_PASSWORD": password, "PATH": "/usr/bin:/bin"}
        done = subprocess.run([shell, option, script], env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout

    assert start("") == (1, "Set GRAFANA_PASSWORD.\n")
    assert start("correct horse") == (0, "started\n")


def test_the_collector_uses_exactly_what_it_configures():
    collector = yaml.safe_load((DEPLOY / "otel-collector.yaml").read_text())
    pipeline = collector["service"]["pipelines"]["traces"]
    assert {kind: list(collector[kind]) for kind in pipeline} == pipeline
