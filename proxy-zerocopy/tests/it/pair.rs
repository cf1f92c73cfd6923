use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Two ends of a loopback connection.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    connect(&listener, TcpSocket::new_v4().unwrap()).await
}

/// The same with socket buffers as small as the kernel allows, so that writers soon wait.
pub(crate) async fn narrow_pair() -> (TcpStream, TcpStream) {
    let listener = narrow_socket();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    connect(&listener.listen(1).unwrap(), narrow_socket()).await
}

fn narrow_socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(1).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket
}

async fn connect(listener: &TcpListener, socket: TcpSocket) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(socket.connect(address), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}
