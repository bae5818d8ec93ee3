//! Networks in one form: a bare address is a network of one, an IPv4 address written as IPv6 is IPv4, and an address inside
//! a network is not a network. So that one block has one name.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoNetwork {
    /// Neither an address nor a network.
    Unreadable,
    /// Bits are set after the prefix: one address was meant, or the network it lies in.
    HostBits { host: IpNet, network: IpNet },
}

/// Reads an address or network.
pub(super) fn network(text: &str) -> Result<IpNet, NoNetwork> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| NoNetwork::Unreadable)?),
    };
    let net = unmapped(net);
    let network = net.trunc();
    if network != net {
        let host = IpNet::from(net.addr());
        return Err(NoNetwork::HostBits { host, network });
    }
    Ok(net)
}

/// `::ffff:192.168.1.0/120` is `192.168.1.0/24`.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    let four = six.addr().to_ipv4_mapped();
    let prefix = six.prefix_len().checked_sub(96);
    let (Some(four), Some(prefix)) = (four, prefix) else {
        return net;
    };
    Ipv4Net::new(four, prefix).map_or(net, IpNet::V4)
}
