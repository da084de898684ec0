"""Is the Helm chart good? Lints it, holds values against its schema, and renders it with Helm's own library.

usage: chart.py CHART OUTPUT_FOLDER    writes one file of manifests for each set of values
"""

import sys
from pathlib import Path

import helm_python as helm

# Values that must be taken: between them every branch of the templates is seen.
GOOD = {
    "default": {},
    "database": {
        "database": {"enabled": True},
        "publicUrl": "https://auth.example.com",
        "policy": '[resources.files]\nname = "Files"\n',
        "settings": {"AUTH_PROVIDER_AUDIT_DURABILITY": "strict", "AUTH_PROVIDER_WORKERS": 2},
        "service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "annotations": {"a": "b"}},
        "networkPolicy": {
            "from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
            "databaseTo": [{"ipBlock": {"cidr": "10.20.0.0/24"}}],
        },
        "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "registry"}]},
    },
    "autoscaled": {
        "database": {"enabled": True},
        "autoscaling": {"enabled": True},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    "sqlite-on-a-class": {"persistence": {"size": "2Gi", "storageClassName": "fast"}},
}

# Values that must be refused, since a provider with them would be insecure, would not start, or not be meant.
BAD = {
    "plain http": {"publicUrl": "http://auth.example.com"},
    "a secret among the settings": {"settings": {"AUTH_PROVIDER_MASTER_KEY": "AAAA"}},
    "a listener beside nginx": {"settings": {"AUTH_PROVIDER_LISTEN": "0.0.0.0:3001"}},
    "a misspelt name": {"replica": 3},
    "no replicas": {"replicas": 0},
    "a tag where the digest belongs": {"image": {"digest": "latest"}},
}


def main():
    path, output = sys.argv[1], Path(sys.argv[2])
    findings = helm.lint(path)
    messages = [m["error"] for m in findings["messages"] if m["error"] != "icon is recommended"]
    problems = [str(finding) for finding in findings["errors"] + messages]
    with helm.Chart.load(path) as chart:
        for name, values in BAD.items():
            try:
                chart.validate_schema(values)
                problems.append(f"the schema takes {name}")
            except helm.HelmValuesError:
                pass
        for name, values in GOOD.items():
            chart.validate_schema(values)
            rendered = chart.render(values, name="auth-provider", namespace="m2m")
            texts = [text for file, text in sorted(rendered.items()) if file.endswith(".yaml")]
            (output / f"chart-{name}.yaml").write_text("\n---\n".join(texts))
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
