"""How a service is configured: one schema, from flags, the environment, a TOML file, in that order of precedence.

Each field is a flag (``--state-dir``), a variable (``VIRTBUS_STATE_DIR``) and a key of the file (``state_dir``); its
description here is what ``--help`` prints. The file may have a table named after the service, whose keys win over
those beside it, so that the four services of a node can share one file.
"""

from __future__ import annotations

import argparse
import os
import platform
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from virtbus_shared import __version__
from virtbus_shared.bus.connection import parameters
from virtbus_shared.bus.topology import check_node
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.snapshot import GROUPS

METRICS_PORTS = {"domain": 9471, "network": 9472, "storage": 9473, "nodedev": 9474}
DEFAULT_FILE = Path("/etc/virtbus/virtbus.toml")


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix="VIRTBUS_", extra="forbid")

    node: str = Field(default_factory=platform.node, description="Name of this node; callers address it by this name.")
    broker: str = Field(default="amqp://guest:guest@127.0.0.1:5672/%2F",
                        description="URL of the broker: amqp:// or amqps://; several, separated by commas, are tried "
                                    "in turn.")
    state_dir: Path = Field(default=Path("/var/lib/virtbus"), description="What must survive a reboot of the host.")
    run_dir: Path = Field(default=Path("/run/virtbus"), description="What must not: sockets and traces of guests.")
    metrics_address: str = Field(default="", description="HOST:PORT for /metrics, /healthz and /readyz.")
    metrics_disable: str = Field(default="", description=f"Groups of metrics to leave out, separated by commas: "
                                                         f"{', '.join(GROUPS)}.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json: one object a line; console: for people; auto: console on a terminal.")

    @field_validator("node")
    @classmethod
    def _node(cls, value: str) -> str:
        try:
            return check_node(value)
        except LibvirtError as e:
            raise ValueError(str(e)) from None

    @field_validator("broker")
    @classmethod
    def _broker(cls, value: str) -> str:
        try:
            parameters(value, "")
        except LibvirtError as e:
            raise ValueError(str(e)) from None
        return value

    @field_validator("metrics_address")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isdigit() and int(port) < 65536):
            raise ValueError("HOST:PORT is expected, such as 127.0.0.1:9471")
        return value

    @field_validator("metrics_disable")
    @classmethod
    def _groups(cls, value: str) -> str:
        if unknown := {name.strip() for name in value.split(",")} - {"", *GROUPS}:
            raise ValueError(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
        return value

    @property
    def metrics_disabled(self) -> frozenset[str]:
        """The groups that are left out."""
        return frozenset(name.strip() for name in self.metrics_disable.split(",")) - {""}

    @property
    def metrics_host_port(self) -> tuple[str, int]:
        """The address to listen on."""
        host, _, port = self.metrics_address.rpartition(":")
        return host.strip("[]"), int(port)

    @classmethod
    def settings_customise_sources(cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
                                   env_settings: PydanticBaseSettingsSource,
                                   dotenv_settings: PydanticBaseSettingsSource,
                                   file_secret_settings: PydanticBaseSettingsSource,
                                   ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before the environment before the file (``_File`` stands in for secrets)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings, _File(cls)


class _File(PydanticBaseSettingsSource):
    """The TOML file as the source of least precedence."""

    content: dict[str, Any] = {}  # noqa: RUF012  # set by ``load`` before the settings are made

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """One key of the file."""
        del field
        return self.content.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self.content


def load(service: str, arguments: list[str] | None = None) -> Settings:
    """The settings of a service. Bad ones end the program with a message that names the setting and its source."""
    parser = argparse.ArgumentParser(
        prog=f"virtbus-{service}", description=f"The {service} service of a virtbus node.",
        epilog="Each flag is also a variable (VIRTBUS_STATE_DIR) and a key of the TOML file (state_dir); a flag wins "
               f"over a variable, a variable over the file. Example: virtbus-{service} --node node-a "
               "--broker amqp://node-a:secret@broker/%%2F --metrics-address 127.0.0.1:"
               f"{METRICS_PORTS[service]}")
    parser.add_argument("--version", action="version", version=f"virtbus-{service} {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help=f"The TOML file (default: {DEFAULT_FILE}, if there is one; also VIRTBUS_CONFIG).")
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if name == "metrics_address":
            default = f"127.0.0.1:{METRICS_PORTS[service]}"
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=name.rpartition("_")[2].upper(),
                            help=f"{field.description} (default: {default})".replace("%", "%%"))
    given = {key: value for key, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        _File.content = {"metrics_address": f"127.0.0.1:{METRICS_PORTS[service]}",
                         **_read(given.pop("config", None), service)}
        return Settings(**given)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        parser.error(f"setting {name!r}: {first['msg']} (--{name.replace('_', '-')}, VIRTBUS_{name.upper()}, or "
                     f"{name!r} in the file)")
    except (OSError, ValueError) as e:
        parser.error(f"configuration file: {e}")


def _read(path: Path | None, service: str) -> dict[str, Any]:
    """The keys of the file that concern this service."""
    path = path or (Path(os.environ["VIRTBUS_CONFIG"]) if os.environ.get("VIRTBUS_CONFIG") else None)
    if path is None and not DEFAULT_FILE.exists():
        return {}
    content = tomllib.loads((path or DEFAULT_FILE).read_text())
    common = {key: value for key, value in content.items() if not isinstance(value, dict)}
    tables = {key for key, value in content.items() if isinstance(value, dict)}
    if unknown := tables - set(METRICS_PORTS):
        raise ValueError(f"[{min(unknown)}] is no service; there are {', '.join(METRICS_PORTS)}")
    return common | (content[service] if service in tables else {})
