"""Each rule: Dockerfiles in which it finds something, and where, and some in which it must not."""

from __future__ import annotations

import pytest

from overlayfs_py.advice.build_facts import BuildFacts, BuiltStep
from overlayfs_py.advice.context_facts import ContextFacts
from overlayfs_py.advice.linting import RULES, lint
from overlayfs_py.dockerfile.ignore import IgnoreRules
from overlayfs_py.dockerfile.parsing import parse

_MB = 1_000_000
_APT = "apt-get update && apt-get install -y --no-install-recommends curl=7"
_CLEAN = "rm -rf /var/lib/apt/lists/*"

# The rule, the Dockerfile below `FROM debian:12` in line 1, the lines of what it finds.
_FOUND = [
    ("AptListsLeftBehind", f"RUN {_APT}", [2]),
    ("AptListsLeftBehind", "RUN true && \\\n  true && \\\n  apt-get update", [4]),
    ("AptListsLeftBehind", "RUN <<EOF\nset -e\napt-get update\nEOF", [4]),
    ("AptListsLeftBehind", 'RUN ["sh", "-c", "apt-get update"]', [2]),
    ("AptListsLeftBehind", 'RUN ["apt-get", "update"]', [2]),
    ("AptListsLeftBehind", f"RUN {_APT}\nRUN {_CLEAN}", [2]),
    ("AptListsLeftBehind", "RUN x=$(apt-get update)", [2]),
    ("AptListsLeftBehind", "RUN --mount=type=cache,target=/var/cache/apt apt-get update", [2]),
    ("AptListsLeftBehind", "ONBUILD RUN apt-get update", [2]),
    (
        "AptListsLeftBehind",
        "RUN rm /etc/apt/apt.conf.d/docker-clean\n"
        "RUN --mount=type=cache,target=/var/lib/apt apt-get update && apt-get install -y a",
        [3],
    ),
    ("AptUpdateAlone", "RUN apt-get update\nRUN apt-get install -y curl", [2]),
    ("AptRecommends", "RUN apt-get install -y curl", [2]),
    ("InstallAsks", "RUN apt-get install curl", [2]),
    ("InstallAsks", "RUN yum install curl\nRUN zypper in curl\nRUN dnf install curl", [2, 3, 4]),
    ("PackageRemovedLater", "RUN apk add --virtual .b gcc\nRUN make\nRUN apk del .b", [4]),
    ("PackageRemovedLater", "RUN apt-get install -y gcc\nRUN apt-get purge -y gcc", [3]),
    ("UpgradeInBuild", "RUN apt-get update && apt-get dist-upgrade -y\nRUN apk upgrade", [2, 3]),
    ("UpgradeInBuild", "RUN yum update -y\nRUN dnf -y upgrade\nRUN zypper -n up", [2, 3, 4]),
    ("AptForPeople", "RUN apt install -y curl", [2]),
    ("ApkCacheLeftBehind", "RUN apk add curl\nRUN apk update && apk add git", [2, 3]),
    ("YumCacheLeftBehind", "RUN yum install -y curl\nRUN yum clean all", [2]),
    ("DnfCacheLeftBehind", "RUN dnf install -y a\nRUN microdnf install -y b", [2, 3]),
    ("DnfCacheLeftBehind", "RUN dnf clean all && dnf install -y a", [2]),
    ("DnfCacheLeftBehind", "RUN dnf install -y a && microdnf clean all", [2]),
    ("ZypperCacheLeftBehind", "RUN zypper -n install curl", [2]),
    ("YarnCacheLeftBehind", "RUN yarn install\nRUN yarn add x\nRUN yarn", [2, 3, 4]),
    ("NpmCacheLeftBehind", "RUN npm ci", [2]),
    ("PipCacheLeftBehind", "RUN pip install x==1\nRUN python3 -m pip install y==1", [2, 3]),
    ("PipCacheLeftBehind", "ENV PIP_NO_CACHE_DIR=off\nRUN pip install x", [3]),
    ("PipCacheLeftBehind", "RUN export PIP_NO_CACHE_DIR=0 && pip install x", [2]),
    ("PipCacheLeftBehind", "RUN PIP_NO_CACHE_DIR=no pip2 install x", [2]),
    ("UnpinnedPackage", "RUN apt-get install -y curl git=1\nRUN pip install a b==1", [2, 3]),
    ("UnpinnedPackage", "RUN npm i -g x\nRUN apk add --virtual b c\nRUN gem install r", [2, 3, 4]),
    ("MergeRuns", "RUN a\nRUN b\nENV c=1\nRUN d\nRUN e\nRUN f", [3, 6, 7]),
    ("OrderThrowsCacheAway", "WORKDIR /a\nCOPY . .\nRUN npm ci\nRUN npm run build", [3]),
    ("OrderThrowsCacheAway", "COPY ./ /a/\nRUN pip3 install -r /a/requirements.txt", [2]),
    ("OrderThrowsCacheAway", "COPY . /a\nRUN apt-get update && apt-get install -y x", [2]),
    ("OrderThrowsCacheAway", "COPY . /a\nRUN go mod download", [2]),
    ("ChangingArgument", "ARG BUILD_DATE\nARG GIT_SHA\nLABEL d=$BUILD_DATE\nRUN make", [2, 3]),
    ("RemovedLater", "COPY a.tar.gz /tmp/\nRUN tar xf /tmp/a.tar.gz\nRUN rm /tmp/a.tar.gz", [4]),
    ("RemovedLater", "RUN curl -o /tmp/x http://x\nRUN rm -rf /tmp/*", [3]),
    ("ChangedLater", "COPY . /app\nRUN chown -R app:app /app", [2]),
    ("RemovedLater", "COPY . /app\nRUN rm -rf /app/tests", [3]),
    ("ChangedLater", "WORKDIR /app\nCOPY a b\nRUN x && chmod -R +x .", [3]),
    ("DownloadLeftBehind", "RUN curl -fsSLO https://x/y.tar.gz && tar xf y.tar.gz", [2]),
    ("DownloadLeftBehind", "RUN wget -q https://x/y.zip && unzip y.zip", [2]),
    ("UnpackedCopy", "COPY a.tar.xz /tmp/\nRUN tar -xJf /tmp/a.tar.xz -C /opt", [2]),
    ("HighUserNumber", "RUN useradd -u 1000000 x\nRUN useradd --uid=500000 y", [2, 3]),
    ("WholeFileSystem", "COPY --from=alpine / /", [2]),
    ("UnusedStage", "FROM debian:11 AS b\nFROM debian:10", [1, 2]),
    ("AddWhereCopyDoes", "ADD a /b\nADD c d /e/", [2, 3]),
    ("UncheckedUrl", "ADD https://example.org/a /b", [2]),
    ("FlagAsSource", "COPY -from=a b /c/\nCOPY a --chown=1 /d/", [2, 3]),
    ("SeveralIntoOne", "COPY a b /c", [2]),
    ("CopyWithoutWorkdir", "COPY a b", [2]),
    ("SecretsUsedInArgOrEnv", "ARG API_KEY a\nENV DB_PASSWORD=x AUTH_TOKEN=$a", [2, 3, 3]),
    ("SecretInText", "RUN git clone https://me:pw@example.org/x", [2]),
    ("SecretInText", "ENV A=AKIA0123456789ABCDEF", [2]),
    ("SecretInText", "COPY <<k /k\n-----BEGIN RSA PRIVATE KEY-----\nk", [2]),
    ("SecretFile", "COPY .env /app/\nCOPY keys/id_rsa /root/.ssh/\nADD a.pem /", [2, 3, 4]),
    ("SecretInLayer", "ARG NPM_TOKEN\nRUN echo //r/:_authToken=$NPM_TOKEN > ~/.npmrc", [3]),
    ("UntaggedBase", "FROM debian\nFROM localhost:5000/x", [2, 3]),
    ("LatestBase", "FROM debian:latest", [2]),
    ("DuplicateStageName", "FROM a:1 AS x\nFROM b:1 AS X", [3]),
    ("ReservedStageName", "FROM a:1 AS scratch", [2]),
    ("StageNameCasing", "FROM a:1 AS Build", [2]),
    ("FromAsCasing", "FROM a:1 as x\nfrom a:1 AS y", [2, 3]),
    ("ConsistentInstructionCasing", "run a\nRUN b\nCmd c", [2, 4]),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=linux/amd64 a:1", [2]),
    ("RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM a:1", [2]),
    ("UndefinedArgInFrom", "FROM a:$TAG", [2]),
    ("JSONArgsRecommended", "CMD a b\nENTRYPOINT ['c']", [2, 3]),
    ("MultipleInstructionsDisallowed", 'CMD ["a"]\nCMD ["b"]\nCMD ["c"]', [2, 3]),
    ("RootUser", "USER app\nUSER root", [3]),
    ("MaintainerDeprecated", "MAINTAINER me", [2]),
    ("WorkdirRelativePath", "WORKDIR app", [2]),
    ("LegacyKeyValueFormat", "ENV a b\nLABEL c d e", [2, 3]),
    ("OwnVariable", "ENV a=1 b=$a/x", [2]),
    ("UndefinedVar", "ENV VERSION=1\nENV x=$VERSON", [3]),
    ("ArgumentOfFrom", "RUN echo $TARGETARCH", [2]),
    ("NoEmptyContinuation", "RUN a \\\n\n  b", [2]),
    ("ExposeInvalidFormat", "EXPOSE 80:8080", [2]),
    ("ExposeProtoCasing", "EXPOSE 80/TCP", [2]),
    ("CopyFromItself", "FROM a:1 AS b\nCOPY --from=b x /y", [3]),
    ("DirectoryOfOneRun", "RUN cd /app", [2]),
    ("Sudo", "RUN sudo apt-get update", [2]),
    ("PointlessCommand", "RUN service x start\nRUN a && vim", [2, 3]),
    ("PipeHidesFailure", "RUN curl x | sh", [2]),
    ("TwoClients", "RUN curl a\nRUN wget b", [3]),
    ("DownloadProgress", "RUN wget http://x", [2]),
    ("ShellLink", "RUN ln -sf /bin/bash /bin/sh", [2]),
]

_QUIET = [
    ("AptListsLeftBehind", f"RUN {_APT} && {_CLEAN}"),
    ("AptListsLeftBehind", "RUN --mount=type=cache,target=/var/lib/apt apt-get update"),
    ("AptListsLeftBehind", f"RUN {_APT}\nFROM debian:12"),
    ("AptListsLeftBehind", "RUN echo apt-get update\nRUN # apt-get update\nLABEL a=x"),
    ("AptUpdateAlone", f"RUN {_APT}"),
    (
        "InstallAsks",
        "RUN apt-get install -yq curl\nRUN yes | apt install x",
    ),
    ("InstallAsks", "RUN yum -y install x\nRUN zypper --non-interactive in x\nRUN apk add x"),
    ("PackageRemovedLater", "RUN apk add gcc && apk del gcc\nRUN apt-get remove -y vim"),
    ("UpgradeInBuild", "RUN apt-get update\nRUN apk update\nRUN dnf -y upgrade openssl"),
    ("ApkCacheLeftBehind", "RUN apk add --no-cache x\nRUN apk add y && rm -rf /var/cache/apk/*"),
    ("ApkCacheLeftBehind", "RUN --mount=type=cache,target=/var/cache/apk apk add x"),
    ("YumCacheLeftBehind", "RUN yum install -y x && yum clean all"),
    ("DnfCacheLeftBehind", "RUN dnf install -y x && rm -rf /var/cache/dnf\nRUN dnf -y remove x"),
    ("DnfCacheLeftBehind", "RUN microdnf install x && microdnf clean all"),
    ("ZypperCacheLeftBehind", "RUN zypper -n in x && zypper cc -a"),
    ("YarnCacheLeftBehind", "RUN yarn && yarn cache clean\nRUN yarn build"),
    ("PipCacheLeftBehind", "RUN export PIP_NO_CACHE_DIR=1 && pip install x\nRUN pipx install y"),
    ("PipCacheLeftBehind", "RUN PIP_NO_CACHE_DIR=on pip install x\nRUN pipenv install y"),
    ("NpmCacheLeftBehind", "RUN npm ci && npm cache clean --force\nRUN npm run build"),
    ("NpmCacheLeftBehind", "RUN --mount=type=cache,target=/root/.npm npm ci"),
    ("PipCacheLeftBehind", "RUN pip install --no-cache-dir x"),
    ("PipCacheLeftBehind", "ENV PIP_NO_CACHE_DIR=1\nRUN pip install x"),
    ("PipCacheLeftBehind", "ARG PIP_NO_CACHE_DIR=1\nRUN pip install x\nRUN pip list"),
    ("PipCacheLeftBehind", "RUN --mount=type=cache,target=/root/.cache/pip pip install x"),
    ("UnpinnedPackage", "RUN pip install -r a.txt\nRUN pip install .\nRUN apt-get install ./a.deb"),
    ("MergeRuns", "RUN a\nCOPY x /y\nRUN b\nRUN --network=none c\nRUN --mount=target=/m d"),
    ("MergeRuns", "RUN a && b\nRUN c\nRUN d; e\nFROM a:1\nRUN e"),
    ("OrderThrowsCacheAway", "COPY package*.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build"),
    ("OrderThrowsCacheAway", "COPY . .\nRUN pip install .\nRUN go build ./..."),
    ("OrderThrowsCacheAway", "COPY --from=x . .\nRUN npm ci"),
    ("ChangingArgument", "RUN make\nARG BUILD_DATE\nLABEL d=$BUILD_DATE"),
    ("RemovedLater", "COPY a /tmp/\nRUN rm /var/x\nRUN curl -o /x u && rm /x"),
    ("ChangedLater", "COPY --chown=a . /app\nRUN chown -R a /data"),
    (
        "DownloadLeftBehind",
        "RUN curl -fsSL https://x/y.tar.gz | tar xz\nRUN wget -O- https://x/y.tgz",
    ),
    ("DownloadLeftBehind", "RUN curl -LO https://x/y.tar.gz && tar xf y.tar.gz && rm y.tar.gz"),
    (
        "UnpackedCopy",
        "ADD a.tar.xz /opt/\nCOPY --from=x d.tar /\nRUN tar xf /d.tar",
    ),
    ("HighUserNumber", "RUN useradd -l -u 1000000 x\nRUN useradd -u 1000 y\nRUN useradd z"),
    ("WholeFileSystem", "COPY --from=alpine /etc /\nCOPY / /"),
    ("UnusedStage", "FROM b:1 AS c\nCOPY --from=0 /a /a\nFROM scratch\nCOPY --from=c /a /a"),
    ("UnpackedCopy", "COPY a.tar /b/\nRUN tar cf /b/a.tar /c"),
    ("AddWhereCopyDoes", 'ADD "a.tgz" /b\nADD "http://x" /y'),
    ("AddWhereCopyDoes", "ADD a.tar.gz /b\nADD https://x/y /z\nADD git@x:y.git /z\nADD $a /b"),
    ("UncheckedUrl", "ADD --checksum=sha256:00 https://x/y /z\nADD https://x/y.git /z"),
    ("FlagAsSource", "COPY --from=a b /c\nCOPY -x --y /z/\nCOPY from /c"),
    ("SeveralIntoOne", "COPY a b /c/\nCOPY a b .\nCOPY a b $c"),
    ("CopyWithoutWorkdir", "COPY a /b\nCOPY a $c\nWORKDIR /x\nCOPY a b"),
    ("SecretsUsedInArgOrEnv", "ARG PUBLIC_KEY\nARG KEY_FILE\nENV MONKEY=1 TOKEN=\nENV AUTHOR=x"),
    ("SecretInText", "RUN git clone https://example.org/a@b\nRUN curl http://$u:$p@x"),
    (
        "SecretFile",
        "COPY .env.example /a\nCOPY id_rsa.pub /b\nCOPY --from=x k.pem /",
    ),
    ("UntaggedBase", "FROM debian:12 AS a\nFROM a\nFROM scratch\nFROM x@sha256:00\nFROM $y"),
    ("LatestBase", "FROM debian:12\nFROM a:latest@sha256:00"),
    ("FromAsCasing", "FROM a:1 AS x\nFrom a:1 As y"),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=$BUILDPLATFORM a:1"),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=linux/arm64 a:1 AS x-arm64"),
    ("JSONArgsRecommended", 'CMD ["a"]\nENTRYPOINT exec a\nFROM a:1\nSHELL ["x"]\nCMD b'),
    ("MultipleInstructionsDisallowed", 'CMD ["a"]\nFROM b:1\nCMD ["c"]\nENTRYPOINT ["d"]'),
    ("RootUser", "USER root\nRUN x\nUSER app"),
    ("WorkdirRelativePath", "WORKDIR /a\nWORKDIR b\nFROM a:1\nWORKDIR $c"),
    ("OwnVariable", "ENV a=1\nENV b=$a\nENV PATH=/x:$PATH\nENV c=$d d=1"),
    ("UndefinedVar", "ENV x=$JAVA_HOME y=$PATH\nARG V\nENV z=${V}"),
    ("ArgumentOfFrom", "ARG TARGETARCH\nRUN echo $TARGETARCH\nRUN TARGETOS=x; echo $TARGETOS"),
    ("ExposeInvalidFormat", "EXPOSE 80 53/udp $P"),
    ("DirectoryOfOneRun", "RUN cd /app && make"),
    ("Sudo", "RUN apt-get install -y sudo\nRUN echo sudo"),
    ("PipeHidesFailure", "RUN set -o pipefail && a | b\nRUN echo a | b"),
    ("PipeHidesFailure", 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\nRUN a | b'),
    ("PipeHidesFailure", 'RUN a || b\nRUN echo \'a | b\'\nRUN ["a", "|", "b"]'),
    ("TwoClients", "RUN curl a\nFROM b:1\nRUN wget c"),
    ("DownloadProgress", "RUN wget -q x\nRUN wget -nv y\nRUN wget --progress=dot:giga z"),
]


def _lines(name: str, text: str) -> list[int]:
    findings = lint(parse(f"FROM debian:12\n{text}\n".encode(), "Dockerfile"))
    return [each.found.position.line for each in findings if each.rule.name == name]


@pytest.mark.parametrize(("name", "text", "lines"), _FOUND)
def test_a_rule_finds(name: str, text: str, lines: list[int]) -> None:
    assert _lines(name, text) == lines


@pytest.mark.parametrize(("name", "text"), _QUIET)
def test_a_rule_does_not_find(name: str, text: str) -> None:
    assert _lines(name, text) == []


def test_every_rule_has_its_example() -> None:
    with_context = {"CopyTooWide", "NoIgnoreFile", "CopyIgnoredFile", "InvalidDefaultArgInFrom"}

    assert {rule.name for rule in RULES} == {name for name, *_ in _FOUND} | with_context


def test_each_finding_has_a_rewrite() -> None:
    for name, text, _ in _FOUND:
        for each in lint(parse(f"FROM debian:12\n{text}\n".encode(), "Dockerfile")):
            assert each.found.rewrite, (name, text, each)


def test_rules_go_by_one_name_each() -> None:
    names = [name for rule in RULES for name in rule.names]

    assert len(names) == len(set(names))


def test_an_argument_without_default_makes_no_image() -> None:
    (finding,) = lint(parse(b"ARG TAG\nFROM debian:$TAG\n", "D"))

    assert (finding.rule.name, finding.found.rewrite) == (
        "InvalidDefaultArgInFrom",
        "ARG TAG=DEFAULT above the first FROM",
    )


def test_sizes_are_those_of_the_context() -> None:
    context = ContextFacts(50 * _MB, 9, {".git": 40 * _MB, "a.tar": 3 * _MB, "src": 7 * _MB}, None)
    text = b"FROM a:1\nWORKDIR /a\nCOPY . .\nRUN chown -R u /a\nCOPY a.tar b/\nRUN tar xf a.tar\n"
    found = {each.rule.name: each.found.bytes for each in lint(parse(text, "D"), context=context)}

    assert found["CopyTooWide"] == 40 * _MB
    assert found["ChangedLater"] == 50 * _MB
    assert found["UnpackedCopy"] == 3 * _MB
    assert "NoIgnoreFile" in found


def test_earlier_builds_tell_seconds_and_sizes() -> None:
    text = b"FROM a:1\nARG GIT_SHA\nCOPY . /a\nRUN npm ci\nRUN chown -R u /a\n"
    builds = BuildFacts(
        {"RUN npm ci": BuiltStep(12.5, _MB), "RUN chown -R u /a": BuiltStep(0.5, 3 * _MB)}
    )
    found = {each.rule.name: each.found for each in lint(parse(text, "D"), builds=builds)}

    assert found["OrderThrowsCacheAway"].seconds == 12.5
    assert found["ChangingArgument"].seconds == 13
    assert found["ChangedLater"].bytes == 3 * _MB


def test_what_is_ignored_cannot_be_copied() -> None:
    ignore = IgnoreRules.parse(b"*.log\n!keep.log\n")
    findings = lint(parse(b"FROM a:1\nCOPY a.log keep.log /x/\n", "D"), ignore=ignore)

    assert [(each.rule.name, each.found.message) for each in findings] == [
        ("CopyIgnoredFile", "a.log is hidden by the rule '*.log' (.dockerignore:1:1)")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# check=skip=Sudo,MaintainerDeprecated\nFROM a:1\nRUN sudo a\nMAINTAINER b\n",
        "# check=skip=all\nFROM a:1\nRUN sudo a\nMAINTAINER b\n",
        "FROM a:1\n# check=skip=Sudo\nRUN sudo a\n# check=skip=all\nMAINTAINER b\n",
        "FROM a:1\n# hadolint ignore=DL3004,X\nRUN sudo a\n# lint ignore=dl4000\nMAINTAINER b\n",
        "# hadolint global ignore=DL3004, DL4000\nFROM a:1\nRUN sudo a\nMAINTAINER b\n",
    ],
)
def test_findings_that_nobody_wants(text: str) -> None:
    assert lint(parse(text.encode(), "D")) == []


def test_a_comment_is_for_one_instruction() -> None:
    text = b"FROM a:1\n# check=skip=Sudo\nRUN sudo a\nCOPY x /y\nRUN sudo b\n"

    assert [each.found.position.line for each in lint(parse(text, "D"))] == [5]
