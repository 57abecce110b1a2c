//! The contract: the same test bodies against the built-in listener and against a real RabbitMQ.
//!
//! The RabbitMQ half runs when `FERROCTI_TEST_RABBITMQ` holds an `amqp://` URL (`scripts/rabbitmq-test-server start DIRECTORY` prints
//! one). Where the two differ on purpose the body says so with [`Target::expect`]; these are the differences that
//! `docs/development/broker.md` lists.

mod consume;
mod declare;
mod protocol;
mod publish;

use lapin::Connection;

use crate::harness::{TestBroker, try_connect};

/// A broker under test.
pub struct Target {
    url: String,
    builtin: Option<TestBroker>,
}

impl Target {
    async fn builtin() -> Self {
        let broker = TestBroker::start().await;
        Self {
            url: broker.url("guest:guest"),
            builtin: Some(broker),
        }
    }

    /// `None` when it was not requested.
    fn rabbitmq(test: &str) -> Option<Self> {
        match std::env::var("FERROCTI_TEST_RABBITMQ") {
            Ok(url) if !url.is_empty() => Some(Self { url, builtin: None }),
            _ => {
                println!(
                    "NOT RUN against RabbitMQ, which was not requested: {test} (set FERROCTI_TEST_RABBITMQ to an amqp:// URL)"
                );
                None
            }
        }
    }

    /// A new connection.
    pub async fn connect(&self) -> Connection {
        try_connect(&self.url)
            .await
            .expect("the broker accepts the connection")
    }

    /// The URL with another login.
    pub fn url_with(&self, login: &str) -> String {
        self.url.replace("guest:guest", login)
    }

    /// Host and port.
    pub fn address(&self) -> String {
        let rest = self.url.split('@').nth(1).expect("the URL has a login");
        rest.split('/')
            .next()
            .expect("the URL has a host")
            .to_owned()
    }

    /// What is expected of the built-in listener, and what of RabbitMQ.
    pub fn expect<T>(&self, builtin: T, rabbitmq: T) -> T {
        if self.builtin.is_some() {
            builtin
        } else {
            rabbitmq
        }
    }
}

/// Makes two tests of each body, `builtin::name` and `rabbitmq::name`.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod builtin {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::contract::Target::builtin().await).await;
            })+
        }
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(target) = crate::contract::Target::rabbitmq(concat!(module_path!(), "::", stringify!($name))) {
                    super::$name(&target).await;
                }
            })+
        }
    };
}
pub(crate) use contract;
