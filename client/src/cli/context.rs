//! What every subcommand works with: the global options, the output, one client.

use std::io::IsTerminal;
use std::time::Duration;

use ganger_client::{Client, ClientConfig, Error};
use ganger_transport::Endpoint;
use ganger_transport::door::ClientKeys;
use tracing_subscriber::EnvFilter;

use super::args::Global;
use super::exit::Exit;
use super::output::Output;

pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) output: Output,
    client: Option<Client>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let output = Output::new(global.json, global.quiet, global.color);
        Self { global, output, client: None }
    }

    /// A client of the broker, connected within the time-out.
    pub(crate) async fn client(&mut self) -> Result<Client, Exit> {
        self.client_with(|_| {}).await
    }

    /// A client of the broker that listens to publications elsewhere.
    pub(crate) async fn listener(&mut self, publications: Option<Endpoint>) -> Result<Client, Exit> {
        self.client_with(|config| config.knowledge = publications).await
    }

    pub(crate) async fn client_with(
        &mut self,
        change: impl FnOnce(&mut ClientConfig),
    ) -> Result<Client, Exit> {
        let mut config = ClientConfig::new(self.global.broker.clone());
        config.name = format!("ganger-{}", std::process::id());
        config.connect_timeout = self.global.timeout;
        config.limits.connect_timeout = config.limits.connect_timeout.min(self.global.timeout);
        config.keys = self.keys()?;
        change(&mut config);
        let client = Client::connect(config).await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    fn keys(&self) -> Result<Option<ClientKeys>, Exit> {
        match (&self.global.secret_key, self.global.broker_key) {
            (None, None) => Ok(None),
            (Some(secret), Some(broker)) => ClientKeys::load(secret, broker)
                .map(Some)
                .map_err(|error| Exit::Usage(format!("--secret-key: {error}"))),
            _ => {
                let text =
                    "--secret-key and --broker-key go together: who you are, and which broker you trust";
                Err(Exit::Usage(text.to_owned()))
            }
        }
    }

    /// An answer, within the time-out.
    pub(crate) async fn answer<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Exit> {
        let after = self.global.timeout;
        Ok(within(after, answer).await?)
    }

    /// Says goodbye to the broker.
    pub(crate) async fn close(&mut self) {
        if let Some(client) = self.client.take() {
            client.close().await;
        }
    }
}

/// The same, unless it takes longer than this.
pub(crate) async fn within<T>(
    after: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(after, answer).await.unwrap_or(Err(Error::TimedOut { after }))
}

/// Logs go to standard error: standard output belongs to results.
pub(crate) fn start_log(filter: Option<&str>) -> Result<(), Exit> {
    let filter = EnvFilter::try_new(filter.unwrap_or("warn")).map_err(|error| {
        Exit::Usage(format!("--log: {error}; write it as in debug or ganger_client=trace"))
    })?;
    let has_color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(has_color);
    // Only fails when somebody else has set one up, and nobody has.
    let _ = log.try_init();
    Ok(())
}
