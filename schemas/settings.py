"""The one reader of the environment. All settings have the prefix COLLAB_, such as COLLAB_HOME."""

from __future__ import annotations

import difflib
import logging
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_serializer, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from schemas.errors import UsageError
from schemas.venue_list import CORPUS_NAME, OTHERS
from schemas.words import is_utf8

# Nothing phones home. Set before anything imports Prefect or Great Expectations; a user who sets them explicitly keeps
# the last word.
for _name, _value in {
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "collab",  # our log lines show in the Prefect UI
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # and nowhere when a night runs without Prefect
}.items():
    os.environ.setdefault(_name, _value)

PREFIX = "COLLAB_"
SECRET = re.compile("pass|token|secret", re.IGNORECASE)
SIGNED = re.compile("pass|token|secret|sig|key|credential", re.IGNORECASE)  # as object stores sign addresses
SERVERS, SERVER_DRIVER = ("postgresql", "postgres"), "postgresql+psycopg"
SIZE = r"^[1-9]\d{0,5}(MB|GB)$"
DASK = r"((tcp|tls|ucx|ws|wss)://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"
HOST = r"^[A-Za-z0-9._:\[\]-]+$"
MAIL = r"^[^@\s,]+@[^@\s,]+$"
MAILS = r"^[^@\s,]+@[^@\s,]+(\s*,\s*[^@\s,]+@[^@\s,]+)*$"


def shows_secret(address: str) -> bool:
    """Whether an address of files holds a password, a token in the place of a web server's user, or a signature."""
    for part in address.split("::"):  # as fsspec chains them
        scheme, is_address, rest = part.partition("://")
        if is_address:
            user, has_user, _ = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")
            options = [*re.split("[?#]", rest, maxsplit=1), ""][1]
            names = [option.partition("=")[0] for option in re.split("[?&;#]", options)]
            is_of_web = scheme.lower() in ("http", "https")  # elsewhere a user is a name, or what holds the files
            if (has_user and (is_of_web or ":" in user)) or any(SIGNED.search(name) for name in names):
                return True
    return False


def quieten_prefect() -> None:
    """Keep Prefect's own log lines off a terminal where our progress is shown; what fails is said once, at the end.
    Call before Prefect is imported."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
    logging.raiseExceptions = False  # else it writes past the levels, once for each line that its server did not take


class Settings(BaseSettings):
    """Everything that can be set, with its default. `collab check` prints the values in force, secrets masked."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    home: Path = Field(Path("data"), description="folder of warehouse, landing, staging and releases")
    warehouse_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="SQLAlchemy URL: duckdb:///file or postgresql://user@host/database;"
        " default duckdb:///$COLLAB_HOME/warehouse.duckdb",
    )
    snapshot: str | None = Field(
        None, description="root of an OpenAlex snapshot: folder, s3://bucket or https:// address"
    )
    venue_list: str | None = Field(
        None, description="list of conference papers to bring: JSON lines or CSV, file or folder, or an address"
    )
    venue_corpus: str = Field("venues", description="corpus that the list belongs to, such as my-conferences")
    scope: Literal["ai", "all"] = Field(
        "ai", description="ai: works admitted by fields.toml; all: every work, field `all` exists too"
    )
    openalex_api_key: SecretStr | None = Field(None, description="key for the OpenAlex API; never logged or stored")
    openalex_url: str = Field("https://api.openalex.org", description="address of the OpenAlex API")
    openalex_sync: Literal["publication", "updated"] = Field(
        "publication",
        description="publication: windows of publication dates (free keys); updated: by date of change (paid plans)",
    )
    openalex_window_days: int = Field(
        90, ge=0, le=36_500, description="publication dates looked at every night: so many days back, and the future"
    )
    openalex_rescan_nights: int = Field(
        30, ge=1, le=3_650, description="every older stored month is looked at again within so many nights"
    )
    openalex_overlap_days: int = Field(
        2, ge=0, le=365, description="days that two nights have in common when asking by date of change"
    )
    openalex_daily_credits: int = Field(
        10_000, ge=1, le=100_000_000, description="most credits to spend in a UTC day (a list call costs one)"
    )
    openalex_rate: float = Field(8.0, gt=0, le=50, description="most requests in a second")
    openalex_timeout: float = Field(60.0, gt=0, le=3_600, description="seconds to wait for an answer to go on")
    openalex_attempts: int = Field(6, ge=1, le=100, description="times a request is tried before its window fails")
    openalex_wait: float = Field(
        1.0, ge=0, le=600, description="seconds before the second attempt, doubled for each further one"
    )

    batch_works: int = Field(50_000, ge=1, le=1_000_000, description="most works in one load transaction")
    workers: int = Field(0, ge=0, le=64, description="processes that parse and locate; 0 = one per core, at most 4")
    dask_address: str | None = Field(
        None, description="scheduler of a Dask cluster that parses and locates instead, such as tcp://host:8786"
    )
    memory_limit: str = Field(
        "400MB", pattern=SIZE, description="memory DuckDB may use in a nightly run before it spills to disk"
    )
    rebuild_memory_limit: str = Field(
        "800MB", pattern=SIZE, description="the same for verify and rebuild, which read everything"
    )

    max_record_bytes: int = Field(
        20_000_000, ge=10_000, le=2_000_000_000, description="longer records are quarantined unread"
    )
    max_expansion: int = Field(
        200,
        ge=10,
        le=1_000_000,
        description="a compressed part that unpacks to more than this many times its size is refused",
    )

    keep_releases: int = Field(7, ge=1, le=100_000, description="published releases that stay on disk")
    keep_landing: int = Field(30, ge=0, le=100_000, description="landed windows with records that stay on disk")
    undo_days: int = Field(
        14, ge=0, le=3_650, description="days for which a batch can be undone; 0 keeps nothing to undo it by"
    )
    keep_quarantine_days: int = Field(
        365, ge=1, le=36_500, description="days that resolved records of the quarantine are kept; open ones stay"
    )
    keep_runs_days: int = Field(400, ge=1, le=36_500, description="days that runs are listed in ops.run")
    keep_prefect_days: int = Field(
        90, ge=1, le=36_500, description="days that ended runs stay in Prefect, with their logs and artifacts"
    )
    stale_hours: int = Field(26, ge=1, le=100_000, description="`collab status` is red when the last success is older")
    warehouse_wait: int = Field(
        0, ge=0, le=10_080, description="minutes to wait for a DuckDB warehouse that another run has open"
    )

    alert_webhook: SecretStr | None = Field(
        None,
        description="address that alerts are posted to: of Slack or another service of Apprise, or any for JSON",
    )
    alert_smtp_host: str | None = Field(None, pattern=HOST, description="mail server that alerts are sent by")
    alert_smtp_port: int = Field(587, ge=1, le=65_535, description="its port")
    alert_smtp_security: Literal["starttls", "ssl", "insecure"] = Field(
        "starttls", description="starttls, ssl (port 465), or insecure for a mail server on this machine"
    )
    alert_smtp_user: str | None = Field(None, description="user of the mail server; none: no login")
    alert_smtp_password: SecretStr | None = Field(None, description="password of that user")
    alert_smtp_from: str | None = Field(None, pattern=MAIL, description="sender of alerts")
    alert_smtp_to: str | None = Field(None, pattern=MAILS, description="who gets alerts; several with commas")
    alert_quarantine: int = Field(
        100, ge=0, description="alert when a run leaves more open records in quarantine, and more than it found"
    )

    max_rewritten_share: float = Field(
        0.2, gt=0, le=1, description="stop when a batch rewrites more of the stored works (citations not counted)"
    )
    max_removed_share: float = Field(
        0.05, gt=0, le=1, description="stop when a batch deletes, or puts out of scope, more of the stored works"
    )
    max_quarantined_share: float = Field(
        0.05, gt=0, le=1, description="stop when more of a batch of at least 1,000 records is quarantined"
    )
    max_country_conflicts: float = Field(
        0.2,
        gt=0,
        le=1,
        description="warn when more of the strings linked to a country's institutions name a place elsewhere; from 10"
        " batches on, when more than usual",
    )
    max_vanished_share: float = Field(
        0.05, gt=0, le=1, description="a window fails when a live source lists fewer of its stored works than the rest"
    )
    min_volume_share: float = Field(
        0.6, ge=0, le=1, description="stop when a source holds a smaller share of what it held before; 0 lets all pass"
    )
    max_unlocated_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="stop when more of a publisher's rewritten works that had a country have none any more",
    )
    band_sigmas: float = Field(
        4.0, gt=0, description="width of the drift bands over the last 30 batches, in standard deviations"
    )
    max_year_change: float = Field(
        0.2, gt=0, description="stop when a batch changes papers of a year over for 18 months by more than this share"
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if "?" in str(value):
            raise ValueError("DuckDB reads what follows a ? in a path as options; choose a folder without")
        try:
            return value.expanduser().resolve()
        except RuntimeError:
            raise ValueError(f"{value} is in the home of a user who does not exist") from None

    @field_validator("snapshot", "venue_list")
    @classmethod
    def _is_open(cls, value: str | None) -> str | None:
        """An address is shown in messages, and is a parameter of the flow run that Prefect keeps."""
        if value and shows_secret(value):
            raise ValueError(
                "no secrets in an address, it is shown wherever the source is named; give them to fsspec in the"
                " environment (FSSPEC_HTTPS for https://), or copy the files to a folder"
            )
        return value

    @field_validator("venue_corpus")
    @classmethod
    def _is_corpus(cls, value: str) -> str:
        if not CORPUS_NAME.fullmatch(value) or value in OTHERS:
            raise ValueError("a name such as my-conferences: letters a to z, digits, hyphens, at most 31; not openalex")
        return value

    @field_validator("home", "snapshot", "venue_list", "warehouse_url", mode="before")
    @classmethod
    def _is_utf8(cls, value: object) -> object:
        if isinstance(value, str | Path) and not is_utf8(str(value)):  # no engine and no form takes it
            raise ValueError("it is not UTF-8; rename it")
        return value

    @field_validator("warehouse_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        try:
            url = make_url(value or "duckdb://")
        except (ArgumentError, ValueError):
            raise ValueError("not a database URL, such as duckdb:///path/to/warehouse.duckdb") from None
        if any(SECRET.search(name) for name in url.query):  # it would be shown wherever the address is
            raise ValueError("no secrets after the ?; write the password before the host, or give it in PGPASSWORD")
        if "@" in (url.host or ""):  # likewise: a part of the password is taken for the host
            raise ValueError("write an @ in the password as %40")
        if url.drivername.startswith("duckdb+"):
            raise ValueError("write duckdb:/// without a driver")
        if url.drivername.split("+")[0] in SERVERS and url.drivername not in (*SERVERS, SERVER_DRIVER):
            raise ValueError("write postgresql:// without a driver; psycopg 3 is used")
        return value

    @field_serializer("warehouse_url", when_used="unless-none")
    def _without_password(self, value: str) -> str:
        return make_url(value).render_as_string(hide_password=True)

    @field_validator("openalex_url")
    @classmethod
    def _is_api(cls, value: str) -> str:
        try:
            parts = make_url(value)
        except (ArgumentError, ValueError):
            parts = URL.create("unknown")
        if parts.drivername not in ("http", "https") or not parts.host or re.search("[?#@]", value):
            raise ValueError("give an address such as https://api.openalex.org, the key in COLLAB_OPENALEX_API_KEY")
        if parts.drivername == "http" and parts.host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("the key would travel in the clear; use https://")
        return value.rstrip("/")

    @field_validator("dask_address")
    @classmethod
    def _is_scheduler(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(DASK, value):
            raise ValueError("give an address such as tcp://host:8786")
        return value

    @field_validator("alert_webhook")
    @classmethod
    def _is_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[a-z]+://[^\s/?#]+\S*", value.get_secret_value()):
            raise ValueError("give an address such as https://hooks.example.org/...")
        return value

    @model_validator(mode="after")
    def _can_mail(self) -> Settings:
        given = [self.alert_smtp_host, self.alert_smtp_from, self.alert_smtp_to]
        if any(given) and not all(given):
            raise ValueError(
                "COLLAB_ALERT_SMTP_HOST, COLLAB_ALERT_SMTP_FROM and COLLAB_ALERT_SMTP_TO belong together: set all three"
            )
        return self

    @property
    def url(self) -> URL:
        """SQLAlchemy URL of the warehouse."""
        if self.warehouse_url:
            url = make_url(self.warehouse_url)
            return url.set(drivername=SERVER_DRIVER) if url.drivername in SERVERS else url
        return URL.create("duckdb", database=str(self.home / "warehouse.duckdb"))

    @property
    def landing(self) -> Path:
        """Folder of raw parts, one folder a window."""
        return self.home / "landing"

    @property
    def staging(self) -> Path:
        """Folder of the workspaces of runs; empty between runs."""
        return self.home / "staging"

    @property
    def harvest(self) -> Path:
        """Folder of pages of windows that are not whole yet; a later run goes on from there."""
        return self.home / "harvest"

    @property
    def published(self) -> Path:
        """Folder of releases and the link `current`."""
        return self.home / "published"

    @property
    def processes(self) -> int:
        """Number of worker processes, `workers` resolved."""
        return self.workers or min(4, os.cpu_count() or 1)


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; `overrides` (options of a command) win where they are not None.

    Raises:
        UsageError: a COLLAB_ variable is unknown or its value does not fit.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and not name.startswith(PREFIX + "TEST_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"{name} is not a setting",
                f"did you mean {close[0]}?" if close else "`collab check` lists all settings",
            )
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        name = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "settings"
        raise UsageError(
            f"{name}: {first['msg'].removeprefix('Value error, ')}", "`collab check` lists all settings"
        ) from None
