//! Kinds of servers: with TLS, with credentials, clusters and old ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use inflight_queue::{Connect, ErrorKind, Server, Settings};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::support::nats::{NatsServer, free_port, installed};
use crate::support::{collect, connect_with, name, push, settings, work};

/// Does some jobs with a new queue.
async fn use_queue(server: &Server, settings: Settings) {
    let queue = server.create(&name("q"), settings).await.unwrap();
    push(&queue, 20).await;
    assert_eq!(work(&queue).await, 20);
    assert_eq!(collect(&queue).await.len(), 20);
}

fn write(directory: &Path, file: &str, text: &str) -> PathBuf {
    let path = directory.join(file);
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_needs_a_trusted_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["127.0.0.1".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = write(directory.path(), "cert.pem", &certified.cert.pem());
    let key = write(
        directory.path(),
        "key.pem",
        &certified.signing_key.serialize_pem(),
    );
    let arguments = [
        "--tls".to_owned(),
        format!("--tlscert={}", certificate.display()),
        format!("--tlskey={}", key.display()),
    ];
    let Some(nats) = NatsServer::start(&arguments.each_ref().map(String::as_str)) else {
        return;
    };
    let connect = |authorities: Option<PathBuf>| Connect {
        servers: vec![nats.url().replace("nats:", "tls:")],
        authorities,
        ..Connect::default()
    };
    let server = connect_with(|| connect(Some(certificate.clone()))).await;
    use_queue(&server, settings()).await;
    let error = Server::connect(connect(None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    let message = error.to_string();
    assert!(message.contains("certificate"), "{message}");
    let missing = directory.path().join("missing.pem");
    let error = Server::connect(connect(Some(missing))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
}

/// Returns a JSON web token of NATS.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": "test",
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": "test",
        "nats": nats,
    });
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn account_claims(storage: i64) -> Value {
    json!({
        "type": "account",
        "version": 2,
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
        },
    })
}

/// Returns the text of a file of credentials.
fn credentials(account: &KeyPair, user: &KeyPair) -> String {
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let (token, seed) = (token(account, user, &claims), user.seed().unwrap());
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_credentials_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
    let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
    let operator_claims = json!({ "type": "operator", "version": 2 });
    let config = format!(
        "operator: {}\nresolver: MEMORY\nsystem_account: {system}\nresolver_preload: {{ {system}: {}, {account}: {} }}\n",
        token(&operator, &operator, &operator_claims),
        token(&operator, &system, &account_claims(0)),
        token(&operator, &account, &account_claims(-1)),
        system = system.public_key(),
        account = account.public_key(),
    );
    let config = write(directory.path(), "nats.conf", &config);
    let Some(nats) = NatsServer::start(&[&format!("--config={}", config.display())]) else {
        return;
    };
    let connect = |credentials: Option<&PathBuf>| Connect {
        servers: vec![nats.url()],
        credentials: credentials.cloned(),
        ..Connect::default()
    };
    let file = write(
        directory.path(),
        "user.creds",
        &credentials(&account, &user),
    );
    let server = connect_with(|| connect(Some(&file))).await;
    use_queue(&server, settings()).await;
    // The account of this user is unknown.
    let other = credentials(&KeyPair::new_account(), &user);
    let other = write(directory.path(), "other.creds", &other);
    let missing = directory.path().join("missing.creds");
    for credentials in [None, Some(&other), Some(&missing)] {
        let error = Server::connect(connect(credentials)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credentials, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_loses_nothing_with_one_server() {
    let routes: Vec<_> = (0..3)
        .map(|_| format!("nats://127.0.0.1:{}", free_port()))
        .collect();
    let start = |number: usize| {
        NatsServer::start(&[
            &format!("--server_name=n{number}"),
            "--cluster_name=c",
            &format!("--cluster={}", routes[number]),
            &format!("--routes={}", routes.join(",")),
        ])
    };
    let Some(mut cluster) = (0..3).map(start).collect::<Option<Vec<_>>>() else {
        return;
    };
    let servers: Vec<_> = cluster.iter().map(NatsServer::url).collect();
    let server = connect_with(|| Connect {
        servers: servers.clone(),
        ..Connect::default()
    })
    .await;
    let replicated = Settings {
        replicas: 3,
        ..settings()
    };
    // The third server may join the cluster later than the others.
    let queue = loop {
        match server.create(&name("q"), replicated.clone()).await {
            Ok(queue) => break queue,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Server, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    push(&queue, 500).await;
    let working = tokio::spawn({
        let queue = queue.clone();
        async move { work(&queue).await }
    });
    while queue.status().await.unwrap().done < 100 {
        tokio::task::yield_now().await;
    }
    // It leads some of the streams, and a client may be connected to it.
    cluster.remove(0);
    working.await.unwrap();
    assert_eq!(collect(&queue).await.len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_refused() {
    let Some(nats) = NatsServer::start_program(installed("nats-refused"), &[]) else {
        return;
    };
    let connect = Connect {
        servers: vec![nats.url()],
        ..Connect::default()
    };
    let error = Server::connect(connect).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let message = error.to_string();
    assert!(
        message.contains("2.10") && message.contains("2.11"),
        "{message}"
    );
}
