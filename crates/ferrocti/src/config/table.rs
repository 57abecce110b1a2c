//! The table of settings: every name under which each may be given, what holds where nothing is given, what it is.

/// One row of the table of settings.
pub(super) struct Setting {
    /// Name in the file, dotted for tables; the flag is the same with `-`.
    pub(super) key: &'static str,
    /// Own environment variable.
    pub(super) env: &'static str,
    /// Upstream's environment variable for the same thing.
    pub(super) alias: Option<&'static str>,
    /// Value where nothing is given; `None`: unset.
    pub(super) default: Option<&'static str>,
    /// What it is, for `ferrocti config`.
    pub(super) help: &'static str,
}

const fn setting(
    key: &'static str,
    env: &'static str,
    alias: Option<&'static str>,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        env,
        alias,
        default,
        help,
    }
}

/// All settings, in the order in which they are listed.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "data_dir",
        "FERROCTI_DATA_DIR",
        None,
        Some("ferrocti-data"),
        "directory of the store, the queues and the keys",
    ),
    setting(
        "host",
        "FERROCTI_HOST",
        None,
        Some("127.0.0.1"),
        "address to listen on; 0.0.0.0 for all",
    ),
    setting(
        "port",
        "FERROCTI_PORT",
        Some("APP__PORT"),
        Some("8080"),
        "HTTP port; 0 chooses a free one",
    ),
    setting(
        "base_path",
        "FERROCTI_BASE_PATH",
        Some("APP__BASE_PATH"),
        Some(""),
        "path in front of every route, e.g. /cti",
    ),
    setting(
        "amqp_port",
        "FERROCTI_AMQP_PORT",
        None,
        Some("5672"),
        "AMQP port; 0 chooses a free one",
    ),
    setting(
        "amqp_advertised_host",
        "FERROCTI_AMQP_ADVERTISED_HOST",
        None,
        None,
        "broker host name that connectors are told; unset: the host by which they reached the platform",
    ),
    setting(
        "admin.email",
        "FERROCTI_ADMIN_EMAIL",
        Some("APP__ADMIN__EMAIL"),
        Some("admin@ferrocti.local"),
        "e-mail of the first administrator",
    ),
    setting(
        "admin.password",
        "FERROCTI_ADMIN_PASSWORD",
        Some("APP__ADMIN__PASSWORD"),
        None,
        "password of the first administrator; unset: generated and shown once",
    ),
    setting(
        "admin.token",
        "FERROCTI_ADMIN_TOKEN",
        Some("APP__ADMIN__TOKEN"),
        None,
        "token of the first administrator; unset: generated and shown once",
    ),
    setting(
        "admin.externally_managed",
        "FERROCTI_ADMIN_EXTERNALLY_MANAGED",
        Some("APP__ADMIN__EXTERNALLY_MANAGED"),
        Some("false"),
        "whether there is no first administrator, since administrators come from elsewhere; removes the one that is there",
    ),
    setting(
        "session.timeout",
        "FERROCTI_SESSION_TIMEOUT",
        Some("APP__SESSION_TIMEOUT"),
        Some("20m"),
        "how long a login lasts without being used, e.g. 20m or 8h; a plain number is in milliseconds",
    ),
    setting(
        "session.lifetime",
        "FERROCTI_SESSION_LIFETIME",
        None,
        Some("12h"),
        "how long a login lasts at most, e.g. 12h or 7d; a plain number is in milliseconds",
    ),
    setting(
        "session.cookie_secure",
        "FERROCTI_SESSION_COOKIE_SECURE",
        Some("APP__HTTPS_CERT__COOKIE_SECURE"),
        Some("auto"),
        "whether browsers may send a login's cookie over HTTPS only: true, false, or auto: when a trusted proxy says that the client uses it",
    ),
    setting(
        "trusted_proxies",
        "FERROCTI_TRUSTED_PROXIES",
        None,
        Some(""),
        "addresses and networks of the proxies in front, separated by commas, e.g. 10.0.0.0/8; their X-Forwarded headers are believed",
    ),
    setting(
        "audit_retention_days",
        "FERROCTI_AUDIT_RETENTION_DAYS",
        None,
        Some("0"),
        "days after which entries of the audit log are removed; 0: never",
    ),
    setting(
        "health_access_key",
        "FERROCTI_HEALTH_ACCESS_KEY",
        Some("APP__HEALTH_ACCESS_KEY"),
        None,
        "key that GET /health asks for; unset: open",
    ),
    setting(
        "metrics",
        "FERROCTI_METRICS",
        None,
        Some("false"),
        "whether GET /metrics answers, with counts in the text format of Prometheus",
    ),
    setting(
        "max_body_mib",
        "FERROCTI_MAX_BODY_MIB",
        None,
        Some("150"),
        "largest HTTP request body, MiB",
    ),
    setting(
        "max_queue_mib",
        "FERROCTI_MAX_QUEUE_MIB",
        None,
        Some("1024"),
        "largest size of one queue, MiB; publishers are held back beyond it",
    ),
    setting(
        "log.filter",
        "FERROCTI_LOG",
        None,
        Some("info"),
        "log filter, e.g. info or ferrocti_ingest=debug",
    ),
    setting(
        "log.json",
        "FERROCTI_LOG_JSON",
        None,
        Some("false"),
        "log as JSON lines",
    ),
];
