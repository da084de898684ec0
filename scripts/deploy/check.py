"""Do the files in deploy/ fit the programs and each other? Reads the sources of both, and runs nothing.

usage: check.py [RENDERED.yaml...]    rendered Kubernetes manifests, each judged as a whole
"""

import json
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

problems = []


def expect(good, where, what):
    """Notes a problem unless it is good."""
    if not good:
        problems.append(f"{where}: {what}")
    return good


# ---- What the programs say of themselves -----------------------------------------------------------------------------


def source(*paths):
    return "\n".join((ROOT / path).read_text() for path in paths)


PROGRAMS = set(re.findall(r'^        name: "([a-z-]+)"', source("suite/src/main.rs"), re.M))

# What every program reads: logs, where spans go, and for https the list of authorities.
COMMON = {"RUST_LOG", "LOG_FORMAT", "NO_COLOR", "SSL_CERT_FILE"}
COMMON |= {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME"}
COMMON |= {"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}

# Each program's sources of settings, and the prefix of its own credentials.
SETTINGS = {
    "auth-provider": (["auth-provider/src/config.rs", "auth-provider/src/program.rs"], None),
    "microservice": (["microservice/src/config.rs"], "MICROSERVICE"),
    "resource-server": (["resource-server/src/config.rs"], "OAUTH2"),
    "token-vault": (["token-vault/src/config.rs"], "TOKEN_VAULT"),
    "calendar-service": (["calendar-service/src/config.rs"], "CALENDAR_SERVICE"),
    "note-service": (["note-service/src/config.rs"], "NOTE_SERVICE"),
    "microservice": (["microservice/src/config.rs"], "MICROSERVICE"),
    "assistant": (["assistant-cli/src/cli.rs"], "ASSISTANT"),
}


def settings_of(program):
    files, prefix = SETTINGS[program]
    names = set(re.findall(r'env = "([A-Z0-9_]+)"', source(*files))) | COMMON
    if prefix:
        names |= {f"{prefix}_CLIENT_ID", f"{prefix}_CLIENT_SECRET"}
    if program == "auth-provider":
        names.add(re.search(r'MASTER_KEY_VARIABLE: &str = "(\w+)"', source(*files))[1])
    return names


LISTEN = re.compile(r"_LISTEN$")


def metrics():
    """The series of the programs, name -> labels, from where they are registered. Of a counter the name ends in _total,
    as OpenMetrics wants it; of what is no plain counter or gauge any ending will do."""
    found = {}
    for path in ROOT.glob("*/src/**/metrics*.rs"):
        text = path.read_text()
        prefix = re.search(r'with_prefix\("(\w+)"\)', text)
        prefix = prefix[1] + "_" if prefix else ""
        fields = dict(re.findall(r"^ +(\w+): (.*\b(?:Counter|Gauge)\b.*),$", text, re.M))
        labels = set(re.findall(r'\("(\w+)", ', text)) | {"job", "instance", "le"}
        # Of a collector, a label's name stands on a line of its own; of a struct, its fields are labels.
        labels |= set(re.findall(r'^ +"(\w+)",$', text, re.M))
        for fields_of in re.findall(r"EncodeLabelSet\)\]\nstruct \w+ \{([^}]*)\}", text):
            labels |= set(re.findall(r"^ +(\w+):", fields_of, re.M))
        calls = re.findall(r'register(_with_unit)?\(\s*"(\w+)",([^;]*?)\);', text)
        for unit, name, arguments in calls:
            kind = next((fields[f] for f in re.findall(r"(\w+)\.clone\(\)", arguments) if f in fields), "")
            endings = ["_total"] if "Counter" in kind else [""] if "Gauge" in kind else ["", "_total", "_bucket", "_sum", "_count"]
            units = ["_" + u.lower() for u in re.findall(r"Unit::(\w+)", arguments)] if unit else [""]
            for ending in endings:
                found[f"{prefix}{name}{units[0]}{ending}"] = labels
        for kind, name in re.findall(r'(counts|level)\(\s*&mut encoder,\s*"(\w+)"', text):
            found[name + ("_total" if kind == "counts" else "")] = labels
    return found


METRICS = metrics()

# How the names of the programs' own series begin, and those of earlier versions.
OWN = r"\b(?:auth_provider|resource_server|http_server|verifier)_\w+"
ACTIONS = set(re.findall(r'^    \d+: \w+ = "([a-z._]+)",$', source("auth-provider/src/audit.rs"), re.M))

# ---- Metrics: the dashboard and the alert rules ----------------------------------------------------------------------


def check_query(query, where):
    for name in re.findall(OWN, query):
        expect(name in METRICS, where, f"no program has the metric {name}")
    for name, matchers in re.findall(rf"({OWN})\{{([^}}]*)\}}", query):
        for label, how, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"', matchers):
            expect(label in METRICS.get(name, [label]), where, f"{name} has no label {label}")
            if label == "action":
                pattern = value.replace("\\\\", "\\") if "~" in how else re.escape(value)
                fits = any(re.fullmatch(pattern, action) for action in ACTIONS)
                expect(fits, where, f"no event has the action {value}")


def check_observability():
    folder = DEPLOY / "observability"
    for group in yaml.safe_load((folder / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            check_query(rule["expr"], f"alert {rule['alert']}")
            expect(rule["labels"]["severity"] in {"critical", "warning"}, f"alert {rule['alert']}", "which severity?")
            expect({"summary", "description"} <= set(rule["annotations"]), f"alert {rule['alert']}", "it says nothing")
    for test in yaml.safe_load((folder / "alerts.test.yml").read_text())["tests"]:
        for series in test["input_series"]:
            check_query(series["series"], f"test of alerts: {test['name']}")
    dashboard = json.loads((folder / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            check_query(target["expr"], f"dashboard: {panel['title']}")
        expect(panel["type"] == "row" or panel.get("description"), f"dashboard: {panel['title']}", "no description")
    ids = [panel["id"] for panel in dashboard["panels"]]
    expect(len(ids) == len(set(ids)), "dashboard", "two panels have one id")
    jobs = {job["job_name"] for job in yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]}
    used = set(re.findall(r'job="([^"]+)"', (folder / "alerts.yml").read_text()))
    expect(used <= jobs, "alerts.yml", f"prometheus.yml has no job {used - jobs}")


# ---- Kubernetes ------------------------------------------------------------------------------------------------------


class Manifests:
    """All objects of one rendering, judged as a whole."""

    def __init__(self, path):
        self.where = Path(path).stem
        self.objects = [o for o in yaml.safe_load_all(Path(path).read_text()) if o]
        self.expected_secrets = {}

    def of(self, *kinds):
        return [o for o in self.objects if o["kind"] in kinds]

    def named(self, kind, name):
        return next((o for o in self.of(kind) if o["metadata"]["name"] == name), None)

    def check(self):
        names = [(o["kind"], o["metadata"]["name"]) for o in self.objects]
        expect(len(names) == len(set(names)), self.where, "two objects have one name")
        for kind, name in names:
            powers = "Role" in kind or "Webhook" in kind or kind == "Secret"
            expect(not powers, self.where, f"{kind} {name}: no cluster permissions and no secrets belong here")
        for workload in self.of("Deployment", "StatefulSet"):
            Pod(self, workload).check()
        self.check_services()
        self.check_references()

    def pods(self):
        return [(w["metadata"]["name"], w["spec"]["template"]) for w in self.of("Deployment", "StatefulSet")]

    def selected(self, selector):
        wanted = selector.get("matchLabels", selector).items()
        return [name for name, pod in self.pods() if wanted <= pod["metadata"]["labels"].items()]

    def check_services(self):
        for service in self.of("Service"):
            name = service["metadata"]["name"]
            found = self.selected(service["spec"]["selector"])
            if not expect(len(found) == 1, self.where, f"Service {name} selects {found}"):
                continue
            pod = next(pod for owner, pod in self.pods() if owner == found[0])
            ports = [p for c in pod["spec"]["containers"] for p in c.get("ports", [])]
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                known = {p.get("name") for p in ports} | {p["containerPort"] for p in ports}
                expect(target in known, self.where, f"Service {name}: {found[0]} has no port {target}")

    def check_references(self):
        for workload in self.of("StatefulSet"):
            name = workload["spec"]["serviceName"]
            expect(self.named("Service", name), self.where, f"there is no Service {name}")
        for scaler in self.of("HorizontalPodAutoscaler"):
            target = scaler["spec"]["scaleTargetRef"]
            workload = self.named(target["kind"], target["name"])
            expect(workload, self.where, f"nothing to scale: {target}")
            containers = [c["name"] for c in workload["spec"]["template"]["spec"]["containers"]]
            for metric in scaler["spec"]["metrics"]:
                name = metric["containerResource"]["container"]
                expect(name in containers, self.where, f"no container {name} to measure")
        for budget in self.of("PodDisruptionBudget"):
            expect(self.selected(budget["spec"]["selector"]), self.where, "a budget for no pods")
        for name, pod in self.pods():
            for kind, key in [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")]:
                covering = [o for o in self.of(kind) if name in self.selected(o["spec"][key])]
                programs = any(c["image"].split(":")[0].endswith("m2m") for c in pod["spec"]["containers"])
                expect(covering or not programs, self.where, f"{name} has no {kind}")
        for policy in self.of("NetworkPolicy"):
            name = policy["metadata"]["name"]
            for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
                for peer in rule.get("from", []) + rule.get("to", []):
                    alone = peer.get("podSelector") if "namespaceSelector" not in peer else None
                    label = next(iter((alone or {}).get("matchLabels", {})), "")
                    optional = label.startswith("calls-") or name == "auth-provider-to-database" or name == "prometheus"
                    expect(not alone or optional or self.selected(alone), self.where, f"{name}: nobody is {alone}")


class Pod:
    """A pod template in its surroundings."""

    def __init__(self, manifests, workload):
        self.manifests = manifests
        self.name = workload["metadata"]["name"]
        self.where = f"{manifests.where}: {self.name}"
        self.claims = {c["metadata"]["name"] for c in workload["spec"].get("volumeClaimTemplates", [])}
        self.spec = workload["spec"]["template"]["spec"]
        selector = workload["spec"]["selector"]
        expect(self.name in manifests.selected(selector), self.where, "it does not select its own pods")

    def check(self):
        spec, where = self.spec, self.where
        expect(spec.get("automountServiceAccountToken") is False, where, "it has a token for the cluster")
        expect(spec.get("enableServiceLinks") is False, where, "Services become settings (enableServiceLinks)")
        security = spec["securityContext"]
        expect(security.get("runAsNonRoot") and security.get("runAsUser"), where, "it may be root")
        expect(security.get("seccompProfile", {}).get("type") == "RuntimeDefault", where, "no seccomp profile")
        account = spec.get("serviceAccountName")
        expect(not account or self.manifests.named("ServiceAccount", account), where, f"no ServiceAccount {account}")
        for container in spec["containers"]:
            self.check_container(container)
        self.check_volumes()
        programs = [c for c in spec["containers"] if self.image(c) == "m2m"]
        if programs:
            self.check_program(programs[0])

    @staticmethod
    def image(container):
        return container["image"].split("@")[0].split(":")[0].rsplit("/", 1)[-1]

    def check_container(self, container):
        where = f"{self.where}/{container['name']}"
        security = container.get("securityContext", {})
        expect(security.get("allowPrivilegeEscalation") is False, where, "privileges may grow")
        expect(security.get("readOnlyRootFilesystem"), where, "its root can be written")
        expect(security.get("capabilities", {}).get("drop") == ["ALL"], where, "it has capabilities")
        resources = container["resources"]
        expect("memory" in resources["limits"] and "cpu" in resources["requests"], where, "no limits")
        tag = container["image"].rsplit("/", 1)[-1].partition(":")[2]
        own = self.image(container) == "m2m"
        expect("@sha256:" in container["image"] or own or tag not in {"", "latest"}, where, "its image has no version")
        for env in container.get("envFrom", []):
            self.reference("ConfigMap", env["configMapRef"]["name"], None)
        for env in container.get("env", []):
            if ref := env.get("valueFrom", {}).get("secretKeyRef"):
                self.reference("Secret", ref["name"], ref["key"])

    def check_volumes(self):
        for volume in self.spec.get("volumes", []):
            if config := volume.get("configMap"):
                self.reference("ConfigMap", config["name"], None)
            if secret := volume.get("secret"):
                keys = [item["key"] for item in secret.get("items", [])] or ["tls.crt", "tls.key"]
                for key in keys:
                    self.reference("Secret", secret["secretName"], key)
        volumes = {v["name"] for v in self.spec.get("volumes", [])}
        mounted = {m["name"] for c in self.spec["containers"] for m in c.get("volumeMounts", [])}
        expect(not volumes & self.claims, self.where, f"volumes and claims: {volumes & self.claims}")
        expect(mounted == volumes | self.claims, self.where, f"volumes {mounted ^ (volumes | self.claims)}")

    def reference(self, kind, name, key):
        if kind == "Secret":
            self.manifests.expected_secrets.setdefault(name, set()).add(key)
        else:
            expect(self.manifests.named(kind, name), self.where, f"there is no {kind} {name}")

    def settings(self, container):
        """What the container's program finds in its environment; a secret is None."""
        found = {}
        for env in container.get("envFrom", []):
            config = self.manifests.named("ConfigMap", env["configMapRef"]["name"])
            found |= (config or {}).get("data", {})
        return found | {env["name"]: env.get("value") for env in container.get("env", [])}

    def check_program(self, container):
        program, settings = container["args"][0], self.settings(container)
        if not expect(program in PROGRAMS, self.where, f"there is no program {program}"):
            return
        unknown = set(settings) - settings_of(program)
        expect(not unknown, self.where, f"{program} has no settings {unknown}")
        for name, value in settings.items():
            expect(value is None or isinstance(value, str), self.where, f"{name}: {value!r} is no text")
            if value and name.endswith(("_POLICY", "_CA", "SSL_CERT_FILE", "_DATA_DIR")):
                folders = tuple(mount["mountPath"] for mount in container["volumeMounts"])
                expect(value.startswith(folders), self.where, f"{name}: nothing is mounted at {value}")
        # nginx beside it knows where it listens, and the probes know where nginx does.
        listen = next(value for name, value in settings.items() if LISTEN.search(name))
        host, port = listen.rsplit(":", 1)
        expect(host == "localhost", self.where, f"{listen}: plain HTTP leaves the pod")
        proxy = next(c for c in self.spec["containers"] if c["name"] == "tls")
        volumes = {v["name"]: v for v in self.spec["volumes"]}
        mount = next(m for m in proxy["volumeMounts"] if m["mountPath"] == "/etc/nginx/nginx.conf")
        config = self.manifests.named("ConfigMap", volumes[mount["name"]]["configMap"]["name"])
        nginx = config["data"][mount["subPath"]]
        expect(f"server 127.0.0.1:{port};" in nginx, self.where, f"nginx does not ask port {port}")
        public = int(re.search(r"listen (\d+) ssl;", nginx)[1])
        expect([p["containerPort"] for p in proxy["ports"]] == [public], self.where, "nginx listens elsewhere")
        for probe, path in [("readinessProbe", "/ready"), ("livenessProbe", "/health")]:
            get = container[probe]["httpGet"]
            good = (get["path"], get["port"], get["scheme"]) == (path, public, "HTTPS")
            expect(good, self.where, f"{probe} is {get}")
        # First nginx says goodbye, then the program; 5.3 s later both are gone.
        waits = [c["lifecycle"]["preStop"]["sleep"]["seconds"] for c in (proxy, container)]
        goodbye = int(re.search(r"worker_shutdown_timeout (\d+)s", nginx)[1])
        grace = self.spec["terminationGracePeriodSeconds"]
        expect(waits[0] + goodbye < waits[1] and waits[1] + 6 < grace, self.where, f"stops in the wrong order: {waits}")


# ---- What runs without Kubernetes ------------------------------------------------------------------------------------


def check_compose():
    where = "compose.yaml"
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    nginx = (DEPLOY / "compose/nginx.conf").read_text()
    served = set(re.findall(r"listen (\d+) ssl;", nginx))
    published = {port.split(":")[1] for port in compose["services"]["edge"]["ports"]}
    expect(served == published, where, f"nginx serves {served}, and {published} are published")
    listening = set()
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            path = volume.split(":")[0]
            if path.startswith(".") and "/target/" not in path:
                expect((DEPLOY / "compose" / path).exists(), where, f"there is no {path}")
        if name == "edge":
            continue
        program = (service.get("entrypoint", []) + service["command"])[1 if "entrypoint" in service else 0]
        expect(program == name and program in PROGRAMS, where, f"{name} runs {program}")
        environment = service["environment"]
        expect(set(environment) <= settings_of(program), where, f"{set(environment) - settings_of(program)}")
        listening |= {v.rsplit(":", 1)[1] for n, v in environment.items() if LISTEN.search(n)}
        expect(service["read_only"] and service["cap_drop"] == ["ALL"], where, f"{name} may do too much")
        expect(service["network_mode"] == "service:edge", where, f"{name} cannot be reached by loopback")
    asked = set(re.findall(r"proxy_pass http://127\.0\.0\.1:(\d+);", nginx))
    expect(asked == listening, where, f"nginx asks {asked}, and the programs listen on {listening}")


def check_systemd():
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        text = unit.read_text()
        program = re.search(r"^ExecStart=/usr/local/bin/([a-z-]+)$", text, re.M)[1]
        expect(program in PROGRAMS and unit.stem == program, unit.name, f"it starts {program}")
        environment = re.search(r"^EnvironmentFile=/etc/m2m/(.*)$", text, re.M)[1]
        lines = (unit.parent / environment).read_text()
        names = set(re.findall(r"^#?([A-Z0-9_]+)=", lines, re.M)) | set(re.findall(r"^Environment=(\w+)=", text, re.M))
        expect(names <= settings_of(program), unit.name, f"{program} has no settings {names - settings_of(program)}")


def check_proxies():
    port = re.search(r'unwrap_or\("localhost:(\d+)"\)', source("auth-provider/src/config.rs"))[1]
    nginx = (DEPLOY / "nginx/auth-provider.conf").read_text()
    envoy = yaml.safe_load((DEPLOY / "envoy/envoy.yaml").read_text())["static_resources"]
    expect(f"server 127.0.0.1:{port};" in nginx, "nginx", "it asks another port")
    expect("X-Forwarded-For $remote_addr;" in nginx, "nginx", "a caller could choose its address")
    cluster = envoy["clusters"][0]
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    expect(address["port_value"] == int(port), "envoy", "it asks another port")
    manager = envoy["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    expect(manager["use_remote_address"] is True, "envoy", "a caller could choose its address")
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        name = route.get("route", {}).get("cluster", cluster["name"])
        expect(name == cluster["name"], "envoy", f"there is no cluster {name}")


def check_copies():
    """What stands twice because a chart and Kustomize read only their own folders."""
    chart, kustomize = DEPLOY / "helm/auth-provider", DEPLOY / "k8s"
    same = (chart / "nginx.conf").read_text() == (kustomize / "base/nginx.conf").read_text()
    expect(same, "deploy/helm/auth-provider/nginx.conf", "it is not deploy/k8s/base/nginx.conf")
    overlays = kustomize / "overlays"
    same = (overlays / "dev/policy.toml").read_text() == (overlays / "kind/policy.toml").read_text()
    expect(same, "deploy/k8s/overlays/kind/policy.toml", "it is not the one of dev")
    version = re.search(r'^version = "(.*)"', source("Cargo.toml"), re.M)[1]
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    expect(about["appVersion"] == version, "Chart.yaml", f"the programs have version {version}")
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    expect(set(values) | {"global"} == set(schema["properties"]), "values.schema.json", "other names than values.yaml")
    for name in schema["properties"]["settings"]["propertyNames"]["not"]["enum"]:
        expect(name in settings_of("auth-provider"), "values.schema.json", f"there is no setting {name}")


def check_secrets(manifests):
    """scripts/e2e-kind must make every Secret, with every key, that its overlay expects."""
    script = source("scripts/e2e-kind")
    for name, keys in manifests.expected_secrets.items():
        expect(re.search(rf"\b{name}\b", script), "scripts/e2e-kind", f"it makes no Secret {name}")
        for key in keys - {"tls.crt", "tls.key"}:
            expect(re.search(rf"\b{re.escape(key)}\b", script), "scripts/e2e-kind", f"{name} has no {key}")


def main():
    for path in sorted(DEPLOY.rglob("*.y*ml")):
        if "templates" not in path.parts:
            list(yaml.safe_load_all(path.read_text()))
    expect(PROGRAMS == set(SETTINGS), "check.py", f"settings of which programs? {PROGRAMS ^ set(SETTINGS)}")
    check_observability()
    check_compose()
    check_systemd()
    check_proxies()
    check_copies()
    for path in sys.argv[1:]:
        manifests = Manifests(path)
        manifests.check()
        if manifests.where == "kind":
            check_secrets(manifests)
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
