//! From a query to its answer: bytes in, bytes out.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use proxy_core::{Address, Backend, BackendSet, Eligibility};

use super::draw::draw;
use super::networks::Place;
use super::{Transport, Zone};
use crate::SameZone;

/// What an answer over UDP may have: what passes every network unfragmented (the DNS flag day of 2020).
const LARGEST_DATAGRAM: u16 = 1232;

/// What a client without EDNS takes (RFC 1035 §4.2.1).
const SMALLEST_LIMIT: u16 = 512;

/// A head (RFC 1035 §4.1.1).
const HEAD: usize = 12;

/// Who asks, and from where.
struct Client<'z> {
    place: Place<'z>,
    subnet: Option<ClientSubnet>,
}

impl Zone {
    /// The answer to a query; `None` where there is to be none, because it is an answer itself, or too short to be
    /// anything: two servers must not talk to each other for ever.
    pub(super) fn reply(&self, query: &[u8], from: IpAddr, transport: Transport) -> Option<Vec<u8>> {
        let is_answer = *query.get(2)? & 0x80 != 0;
        if is_answer || query.len() < HEAD {
            return None;
        }
        let Ok(query) = Message::from_vec(query) else {
            let id = u16::from_be_bytes([query[0], query[1]]);
            return Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok();
        };
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.metadata = Metadata::response_from_request(&query.metadata);
        reply.queries = query.queries.clone();
        let (code, edns) = match self.fill(&query, from, &mut reply) {
            Ok(edns) => (ResponseCode::NoError, edns),
            Err(code) => (code, query.edns.as_ref().map(|_| edns(None))),
        };
        if reply.metadata.response_code == ResponseCode::NoError {
            reply.metadata.response_code = code;
        }
        if let Some(edns) = edns {
            reply.set_edns(edns);
        }
        let limit = match transport {
            Transport::Tcp => u16::MAX,
            Transport::Udp => {
                query.edns.as_ref().map_or(SMALLEST_LIMIT, Edns::max_payload).clamp(SMALLEST_LIMIT, LARGEST_DATAGRAM)
            }
        };
        within(&reply, limit)
    }

    /// Fills the answer in, and says what EDNS it has; or the code of a failure.
    fn fill(&self, query: &Message, from: IpAddr, reply: &mut Message) -> Result<Option<Edns>, ResponseCode> {
        if query.metadata.op_code != OpCode::Query || query.metadata.message_type != MessageType::Query {
            return Err(ResponseCode::NotImp);
        }
        if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Err(ResponseCode::BADVERS);
        }
        let [question] = &query.queries[..] else { return Err(ResponseCode::FormErr) };
        let client = self.client(query, from)?;
        let is_transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
        if question.query_class() != DNSClass::IN || is_transfer || !self.origin.zone_of(question.name()) {
            return Err(ResponseCode::Refused);
        }
        reply.metadata.authoritative = true;
        self.answer(question, &client, reply);
        Ok(query.edns.as_ref().map(|_| edns(client.subnet)))
    }

    /// RFC 7871 §7.1: a subnet that is malformed makes the query so.
    fn client(&self, query: &Message, from: IpAddr) -> Result<Client<'_>, ResponseCode> {
        let from = from.to_canonical();
        let option = query.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet));
        let Some(EdnsOption::Subnet(subnet)) = option else {
            return Ok(Client { place: self.networks.place(from, width(from)), subnet: None });
        };
        let (address, source) = (subnet.addr(), subnet.source_prefix());
        let is_sound = subnet.scope_prefix() == 0 && proxy_core::Cidr::new(address, source).is_ok();
        if !is_sound || address.to_canonical() != address {
            return Err(ResponseCode::FormErr);
        }
        // Length 0 asks for nobody's subnet to be looked at; the resolver's place is all there is then.
        let place = match source {
            0 => Place { scope: 0, ..self.networks.place(from, width(from)) },
            source => self.networks.place(address, source),
        };
        Ok(Client { place, subnet: Some(ClientSubnet::new(address, source, place.scope)) })
    }

    fn answer(&self, question: &Query, client: &Client<'_>, reply: &mut Message) {
        let name = question.name().to_lowercase();
        let kind = question.query_type();
        let known = self.balanced.get(&name);
        let mut answers = Vec::new();
        if name == self.origin {
            answers.extend(matches!(kind, RecordType::SOA | RecordType::ANY).then(|| self.soa()));
            answers.extend(matches!(kind, RecordType::NS | RecordType::ANY).then(|| self.ns()));
        }
        if let Some(backends) = known {
            match self.addresses(backends, kind, client) {
                Some(addresses) => answers.extend(addresses),
                None => reply.metadata.response_code = ResponseCode::ServFail,
            }
        } else if name == self.name_server {
            answers.extend(self.glue.iter().filter_map(|address| record(*address, kind)));
        }
        let records = answers.into_iter().map(|data| Record::from_rdata(question.name().clone(), self.ttl, data));
        reply.answers = records.collect();
        if reply.answers.is_empty() && reply.metadata.response_code == ResponseCode::NoError {
            // RFC 2308: how long that there is nothing may be kept.
            reply.authorities.push(Record::from_rdata(self.origin.clone(), self.ttl, self.soa()));
            let is_there = known.is_some() || self.is_above_a_name(&name);
            reply.metadata.response_code = if is_there { ResponseCode::NoError } else { ResponseCode::NXDomain };
        }
    }

    /// Whether it is a name of the zone, or lies between the zone and one (RFC 8020).
    fn is_above_a_name(&self, name: &Name) -> bool {
        let names = self.balanced.keys().chain([&self.origin]);
        let names = names.chain(Some(&self.name_server).filter(|server| self.origin.zone_of(server)));
        names.into_iter().any(|known| name.zone_of(known))
    }

    /// Addresses of this kind; `None` where no backend may be used at all.
    fn addresses(&self, backends: &BackendSet, kind: RecordType, client: &Client<'_>) -> Option<Vec<RData>> {
        let near = client.place.zone.map(|zone| SameZone::new(zone).eligible(&backends.backends()));
        let eligible = match near {
            Some(near) if !near.is_empty() => near,
            _ => backends.with_candidates(&[], |candidates| candidates.iter().cloned().collect()),
        };
        if eligible.is_empty() {
            return None;
        }
        let of_kind: Vec<_> = eligible.iter().filter(|backend| record_of(backend, kind).is_some()).collect();
        let mut records = Vec::new();
        for record in draw(&of_kind, self.most, &self.dice).into_iter().filter_map(|backend| record_of(backend, kind)) {
            // Two ports of one address are one record.
            if !records.contains(&record) {
                records.push(record);
            }
        }
        Some(records)
    }

    fn soa(&self) -> RData {
        let contact = Name::from_ascii("hostmaster").and_then(|name| name.append_domain(&self.origin));
        let contact = contact.unwrap_or_else(|_| self.origin.clone());
        // Nobody transfers the zone: the numbers but the last mean nothing.
        RData::SOA(SOA::new(self.name_server.clone(), contact, 1, 3600, 600, 86_400, self.ttl))
    }

    fn ns(&self) -> RData {
        RData::NS(NS(self.name_server.clone()))
    }
}

fn record_of(backend: &Backend, kind: RecordType) -> Option<RData> {
    match backend.address() {
        Address::Tcp(address) => record(address.ip(), kind),
        _ => None,
    }
}

/// RFC 8482: "any" is whatever there is.
fn record(address: IpAddr, kind: RecordType) -> Option<RData> {
    match (address.to_canonical(), kind) {
        (IpAddr::V4(address), RecordType::A | RecordType::ANY) => Some(RData::A(A(address))),
        (IpAddr::V6(address), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(address))),
        _ => None,
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn edns(subnet: Option<ClientSubnet>) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(LARGEST_DATAGRAM).set_version(0);
    if let Some(subnet) = subnet {
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    edns
}

/// As it is, or nothing but the question where that is too long (RFC 2181 §9).
fn within(reply: &Message, limit: u16) -> Option<Vec<u8>> {
    let whole = reply.to_vec().ok()?;
    if whole.len() <= usize::from(limit) {
        return Some(whole);
    }
    let mut cut = Message::response(reply.metadata.id, reply.metadata.op_code);
    cut.metadata = reply.metadata;
    cut.metadata.truncation = true;
    cut.queries = reply.queries.clone();
    if let Some(edns) = &reply.edns {
        cut.set_edns(edns.clone());
    }
    cut.to_vec().ok()
}
