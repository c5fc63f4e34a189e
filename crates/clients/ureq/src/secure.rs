//! A transport for ureq with TLS.

use std::fmt;
use std::io::{Read, Write};

use inflight_core::{Error, host_and_port};
use inflight_net::tls::rustls::{ClientConnection, StreamOwned};
use inflight_net::tls::{Tls, from_rustls, handshake_error, server_name};
use ureq::http::Uri;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, NextTimeout, Transport, TransportAdapter,
};

use crate::buffers::TransportBuffers;
use crate::call;
use crate::error::to_ureq_error;
use crate::socket::Socket;

/// A transport that encrypts another transport with TLS.
pub(crate) struct TlsTransport {
    stream: StreamOwned<ClientConnection, TransportAdapter<Socket>>,
    buffers: TransportBuffers,
}

impl TlsTransport {
    /// Performs the handshake with the host of `details`, within `timeout`.
    pub(crate) fn new(
        socket: Socket,
        tls: &Tls,
        details: &ConnectionDetails<'_>,
        timeout: NextTimeout,
    ) -> Result<Self, ureq::Error> {
        let mut connection = connection(tls, details.uri).map_err(to_ureq_error)?;
        let mut sock = TransportAdapter::new(socket, details.current_time.clone());
        sock.set_timeout(timeout);
        connection
            .complete_io(&mut sock)
            .map_err(|error| match error.into() {
                ureq::Error::Io(error) => to_ureq_error(handshake_error(error)),
                // Any other error is a timeout of ureq.
                error => error,
            })?;
        Ok(Self {
            stream: StreamOwned::new(connection, sock),
            buffers: TransportBuffers::new(details),
        })
    }
}

fn connection(tls: &Tls, uri: &Uri) -> Result<ClientConnection, Error> {
    let (host, _) = host_and_port(uri)?;
    ClientConnection::new(tls.config()?, server_name(host)?).map_err(from_rustls)
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let has_read = call::has_read();
        let buffer = self.buffers.free_input()?;
        let read = self.stream.read(buffer);
        // The socket has set this flag even if it received only TLS records without application data, such
        // as `close_notify`.
        call::set_has_read(has_read || read.as_ref().is_ok_and(|amount| *amount > 0));
        // The read also fails if the connection ends without `close_notify`.
        let amount = read.inspect_err(|_| call::record_abnormal_end())?;
        call::inspect(&buffer[..amount]).map_err(to_ureq_error)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsTransport")
            .field(self.stream.sock.get_ref())
            .finish()
    }
}
