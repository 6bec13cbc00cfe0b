//! Owns how gossip is written: a short head that says whose datagram it is, then foca's messages in a few bytes.
//!
//! Integers are big-endian. A datagram is `r t`, the version, and its kind; a member is 23 bytes if it is at an IPv4
//! address. Nothing in a datagram says how much memory to take.

use super::identity::{Identity, Role};
use bytes::{Buf, BufMut, TryGetError};
use core::net::{IpAddr, SocketAddr};
use foca::{Header, Incarnation, Member, Message, State};

/// The longest datagram, in bytes: it fits the usual Ethernet frame.
pub const LONGEST: usize = 1400;

const MAGIC: [u8; 2] = *b"rt";
const VERSION: u8 = 1;

/// The bytes before what foca wrote.
pub(super) const HEAD: usize = 4;

/// What a datagram is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// One of foca's.
    Gossip,
    /// Its sender, an identity, finishes its work and takes no more.
    Leaving,
    /// Its sender, an identity, is gone now.
    Goodbye,
}

const KINDS: [Kind; 3] = [Kind::Gossip, Kind::Leaving, Kind::Goodbye];

/// Why bytes are no gossip of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It ends within a field.
    #[error("the datagram ends too early")]
    Short,
    /// A field has a value that means nothing.
    #[error(
        "the datagram has {value} where it tells the {field}; it is damaged, or of another program or version"
    )]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: u8,
    },
    /// What is to be sent does not fit.
    #[error("the datagram is full")]
    Full,
}

impl From<TryGetError> for CodecError {
    fn from(_: TryGetError) -> Self {
        Self::Short
    }
}

/// A datagram of this kind.
pub(super) fn wrap(kind: Kind, body: &[u8]) -> Vec<u8> {
    let place = KINDS.iter().position(|known| *known == kind).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend([MAGIC[0], MAGIC[1], VERSION, place as u8]);
    bytes.extend(body);
    bytes
}

/// The kind of a datagram, and what is in it.
pub(super) fn unwrap(bytes: &[u8]) -> Result<(Kind, &[u8]), CodecError> {
    let (&[first, second, version, kind], body) = bytes.split_first_chunk().ok_or(CodecError::Short)?;
    if [first, second] != MAGIC {
        return Err(CodecError::Unknown { field: "program", value: first });
    }
    if version != VERSION {
        return Err(CodecError::Unknown { field: "version", value: version });
    }
    let known = KINDS.get(usize::from(kind)).copied();
    Ok((known.ok_or(CodecError::Unknown { field: "kind", value: kind })?, body))
}

/// A datagram that carries an identity alone.
pub(super) fn notice(kind: Kind, identity: &Identity) -> Vec<u8> {
    let mut body = Vec::new();
    // A vector is never full.
    let _ = put_identity(identity, &mut body);
    wrap(kind, &body)
}

/// The identity in such a datagram.
pub(super) fn read_notice(mut body: &[u8]) -> Result<Identity, CodecError> {
    get_identity(&mut body)
}

/// The incarnation with which foca's bytes were sent.
pub(super) fn sent_incarnation(mut body: &[u8]) -> Option<Incarnation> {
    body.try_get_u16().ok()
}

const COORDINATOR: u8 = 1;
const IPV6: u8 = 2;

fn put_identity(identity: &Identity, mut buf: impl BufMut) -> Result<(), CodecError> {
    let tag = if identity.role == Role::Coordinator { COORDINATOR } else { 0 };
    let length = if identity.address.is_ipv6() { 35 } else { 23 };
    if buf.remaining_mut() < length {
        return Err(CodecError::Full);
    }
    match identity.address.ip() {
        IpAddr::V4(ip) => {
            buf.put_u8(tag);
            buf.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            buf.put_u8(tag | IPV6);
            buf.put_slice(&ip.octets());
        }
    }
    buf.put_u16(identity.address.port());
    buf.put_u64(identity.instance);
    buf.put_u64(identity.stamp());
    Ok(())
}

fn get_identity(buf: &mut impl Buf) -> Result<Identity, CodecError> {
    let tag = buf.try_get_u8()?;
    if tag & !(COORDINATOR | IPV6) != 0 {
        return Err(CodecError::Unknown { field: "role", value: tag });
    }
    let role = if tag & COORDINATOR == 0 { Role::Node } else { Role::Coordinator };
    let ip: IpAddr = if tag & IPV6 == 0 {
        buf.try_get_u32()?.to_be_bytes().into()
    } else {
        buf.try_get_u128()?.to_be_bytes().into()
    };
    Ok(Identity::from_parts(ip, buf.try_get_u16()?, role, buf.try_get_u64()?, buf.try_get_u64()?))
}

/// Reads and writes foca's messages for the member at an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec {
    pub(super) me: SocketAddr,
}

const STATES: [State; 3] = [State::Alive, State::Suspect, State::Down];

impl foca::Codec<Identity> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, mut buf: impl BufMut) -> Result<(), CodecError> {
        if buf.remaining_mut() < 4 {
            return Err(CodecError::Full);
        }
        // It comes first: see `sent_incarnation`.
        buf.put_u16(header.src_incarnation);
        put_identity(&header.src, &mut buf)?;
        put_identity(&header.dst, &mut buf)?;
        put_message(&header.message, buf)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        let src_incarnation = buf.try_get_u16()?;
        let src = get_identity(&mut buf)?;
        let mut dst = get_identity(&mut buf)?;
        let message = get_message(&mut buf)?;
        // A newcomer may know us by another of our addresses than the one that we tell.
        if message == Message::Announce && dst.is_anyone() {
            dst.address = self.me;
        }
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Identity>, mut buf: impl BufMut) -> Result<(), CodecError> {
        let length = if member.id().address.is_ipv6() { 38 } else { 26 };
        if buf.remaining_mut() < length {
            return Err(CodecError::Full);
        }
        put_identity(member.id(), &mut buf)?;
        buf.put_u16(member.incarnation());
        buf.put_u8(STATES.iter().position(|state| *state == member.state()).unwrap_or_default() as u8);
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        let identity = get_identity(&mut buf)?;
        let incarnation = buf.try_get_u16()?;
        let value = buf.try_get_u8()?;
        let state = STATES.get(usize::from(value)).ok_or(CodecError::Unknown { field: "state", value })?;
        Ok(Member::new(identity, incarnation, *state))
    }
}

fn put_message(message: &Message<Identity>, mut buf: impl BufMut) -> Result<(), CodecError> {
    let (kind, number, about) = match message {
        Message::Ping(number) => (0, Some(number), None),
        Message::Ack(number) => (1, Some(number), None),
        Message::PingReq { target, probe_number } => (2, Some(probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (3, Some(probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (4, Some(probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (5, Some(probe_number), Some(origin)),
        Message::Announce => (6, None, None),
        Message::Feed => (7, None, None),
        Message::Gossip => (8, None, None),
        Message::Broadcast => (9, None, None),
        Message::TurnUndead => (10, None, None),
    };
    if buf.remaining_mut() < 2 {
        return Err(CodecError::Full);
    }
    buf.put_u8(kind);
    number.into_iter().for_each(|number| buf.put_u8(*number));
    about.map_or(Ok(()), |about| put_identity(about, buf))
}

fn get_message(buf: &mut impl Buf) -> Result<Message<Identity>, CodecError> {
    Ok(match buf.try_get_u8()? {
        0 => Message::Ping(buf.try_get_u8()?),
        1 => Message::Ack(buf.try_get_u8()?),
        2 => {
            let probe_number = buf.try_get_u8()?;
            Message::PingReq { target: get_identity(buf)?, probe_number }
        }
        3 => {
            let probe_number = buf.try_get_u8()?;
            Message::IndirectPing { origin: get_identity(buf)?, probe_number }
        }
        4 => {
            let probe_number = buf.try_get_u8()?;
            Message::IndirectAck { target: get_identity(buf)?, probe_number }
        }
        5 => {
            let probe_number = buf.try_get_u8()?;
            Message::ForwardedAck { origin: get_identity(buf)?, probe_number }
        }
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        9 => Message::Broadcast,
        10 => Message::TurnUndead,
        value => return Err(CodecError::Unknown { field: "message", value }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec as _;

    fn identity(address: &str, role: Role) -> Identity {
        Identity::new(address.parse().unwrap(), role, 7, 1_700_000_000_000)
    }

    #[test]
    fn headers_and_members_read_back() {
        let (a, b) = (identity("10.0.0.1:9091", Role::Node), identity("[fe80::1]:9095", Role::Coordinator));
        let mut codec = Codec { me: a.address };
        let messages = [
            Message::Ping(3),
            Message::Ack(4),
            Message::PingReq { target: b, probe_number: 5 },
            Message::IndirectPing { origin: a, probe_number: 6 },
            Message::IndirectAck { target: b, probe_number: 7 },
            Message::ForwardedAck { origin: a, probe_number: 8 },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ];
        for message in messages {
            let header = Header { src: a, src_incarnation: 513, dst: b, message };
            let mut bytes = Vec::new();
            codec.encode_header(&header, &mut bytes).unwrap();
            assert_eq!(sent_incarnation(&bytes), Some(513));
            assert_eq!(codec.decode_header(&bytes[..]), Ok(header.clone()));
            for end in 0..bytes.len() {
                assert_eq!(codec.decode_header(&bytes[..end]), Err(CodecError::Short), "{header:?}");
                let full = codec.encode_header(&header, vec![0; end].as_mut_slice());
                assert_eq!(full, Err(CodecError::Full), "{header:?}");
            }
        }
        for member in [Member::new(a, 1, State::Suspect), Member::new(b, 2, State::Down), Member::alive(a)] {
            let mut bytes = Vec::new();
            codec.encode_member(&member, &mut bytes).unwrap();
            assert_eq!(codec.decode_member(&bytes[..]), Ok(member.clone()));
            let mut small = [9; 25];
            assert_eq!(codec.encode_member(&member, &mut small[..]), Err(CodecError::Full));
            assert_eq!(small, [9; 25], "nothing of what does not fit is written");
        }
    }

    #[test]
    fn what_is_not_ours_is_told() {
        let unknown = |field, value| Err(CodecError::Unknown { field, value });
        assert_eq!(unwrap(b"rt"), Err(CodecError::Short));
        assert_eq!(unwrap(b"GET /"), unknown("program", b'G'));
        assert_eq!(unwrap(b"rt\x02\x00"), unknown("version", 2));
        assert_eq!(unwrap(b"rt\x01\x03"), unknown("kind", 3));
        assert_eq!(unwrap(b"rt\x01\x01abc"), Ok((Kind::Leaving, &b"abc"[..])));
        let me = identity("10.0.0.1:9091", Role::Coordinator);
        let bytes = notice(Kind::Goodbye, &me);
        assert_eq!(unwrap(&bytes).and_then(|(_, body)| read_notice(body)), Ok(me));
    }
}
