//! A name server for one zone, over UDP, and over TCP for answers that are too long for UDP. With
//! `serve --bind udp://127.0.0.1:7007 --bind tcp://127.0.0.1:7007` it answers
//! `dig @127.0.0.1 -p 7007 www.example.test`.
//!
//! An answer over UDP is larger than its query, and goes to whatever address the query claims to
//! come from. A server that strangers reach limits that with `--source-rate`.
use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message_builder::TreeCompressor;
use domain::base::name::{ToLabelIter, ToName};
use domain::base::{Message, MessageBuilder, ParsedName, Question};
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::{Entry, ScannedRecord as Record, Zonefile};
use socketserver_guest::{BaseRequestHandler, Context, Datagram, Result};
use socketserver_guest::{StreamContext, StreamRequestHandler, export};

/// The zone. The first record is its SOA.
const ZONE: &str = "\
$ORIGIN example.test.
$TTL 3600
@ 300  IN SOA   ns admin 2026112701 7200 3600 1209600 300
@      IN NS    ns
@      IN MX    10 mail
@      IN TXT   \"v=spf1 mx -all\"
ns     IN A     192.0.2.53
ns     IN AAAA  2001:db8::53
mail   IN A     192.0.2.25
www    IN A     192.0.2.80
www    IN A     192.0.2.81
www    IN AAAA  2001:db8::80
alias  IN CNAME www
broken IN CNAME none
away   IN CNAME www.example.com.
a.deep IN TXT   \"There is no record at `deep`, and yet the name exists.\"
long   IN TXT   \"one of seven strings, which together take more than a datagram without EDNS has\"
long   IN TXT   \"two of seven strings, which together take more than a datagram without EDNS has\"
long   IN TXT   \"three of seven strings, which together take more than a datagram without EDNS has\"
long   IN TXT   \"four of seven strings, which together take more than a datagram without EDNS has\"
long   IN TXT   \"five of seven strings, which together take more than a datagram without EDNS has\"
long   IN TXT   \"six of seven strings, which together take more than a datagram without EDNS has\"
long   IN TXT   \"seven of seven strings, which together take more than a datagram without EDNS has\"
";

/// The longest answer over UDP, in bytes: longer ones may be lost on the way. With EDNS a client
/// may ask for up to the second number.
const LONGEST_OVER_UDP: (usize, usize) = (512, 1232);

/// The length of the record of EDNS, in bytes.
const EDNS_LENGTH: usize = 11;

#[derive(Default)]
struct OverUdp;

impl BaseRequestHandler<Datagram> for OverUdp {
    fn handle(&mut self, cx: &mut Context<Datagram>) -> Result {
        let (query, socket) = &cx.request;
        if let Some(answer) = answer(query, LONGEST_OVER_UDP)? {
            socket.sendto(&answer, &cx.client_address)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct OverTcp;

impl StreamRequestHandler for OverTcp {
    /// A query, and an answer, after its length in two bytes each.
    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        while let [high, low] = cx.rfile.read_at_most(2)?[..] {
            let query = cx.rfile.read_at_most(u16::from_be_bytes([high, low]).into())?;
            let longest = usize::from(u16::MAX);
            let Some(answer) = answer(&query, (longest, longest))? else { return Ok(()) };
            cx.wfile.write(&u16::try_from(answer.len())?.to_be_bytes())?;
            cx.wfile.write(&answer)?;
        }
        Ok(())
    }
}

/// Returns the answer to a query, or none if this is no query.
fn answer(query: &[u8], longest: (usize, usize)) -> Result<Option<Vec<u8>>> {
    let Ok(query) = Message::from_slice(query) else { return Ok(None) };
    // Two servers that answer each other's answers would never stop.
    if query.header().qr() {
        return Ok(None);
    }
    let zone: Vec<Record> = Zonefile::from(ZONE)
        .filter_map(|entry| match entry {
            Ok(Entry::Record(record)) => Some(Ok(record)),
            Ok(Entry::Include { .. }) => None,
            Err(error) => Some(Err(error)),
        })
        .collect::<std::result::Result<_, _>>()?;
    let edns = query.opt();
    let is_other_version = edns.as_ref().is_some_and(|edns| edns.version() > 0);
    let mut found = Found::default();
    let mut rcode = Rcode::NOERROR;
    if !is_other_version {
        match question(query, &zone[0]) {
            Ok(question) => found = look_up(&zone, &question),
            Err(error) => rcode = error,
        }
    }
    if found.is_nowhere {
        rcode = Rcode::NXDOMAIN;
    }

    let longest = match &edns {
        Some(edns) => usize::from(edns.udp_payload_size()).clamp(longest.0, longest.1),
        None => longest.0,
    };
    let mut builder = MessageBuilder::from_target(TreeCompressor::new(Vec::new()))?;
    builder.set_push_limit(longest + 1 - EDNS_LENGTH);
    let mut answer = builder.start_error(query, rcode);
    answer.header_mut().set_aa(found.is_authoritative);
    if found.records.iter().any(|record| answer.push(record).is_err()) {
        // The client asks again over TCP.
        answer = answer.tc_rewind_into();
    }
    let mut authority = answer.authority();
    if let Some(soa) = found.soa
        && authority.push(soa).is_err()
    {
        authority.header_mut().set_tc(true);
    }
    let mut additional = authority.additional();
    additional.clear_push_limit();
    if edns.is_some() {
        additional.opt(|edns| {
            edns.set_udp_payload_size(LONGEST_OVER_UDP.1 as u16);
            if is_other_version {
                edns.set_rcode(OptRcode::BADVERS);
            }
            Ok(())
        })?;
    }
    Ok(Some(additional.finish().into_target()))
}

/// Returns the question of a query for the zone that begins with `soa`, or the code of the error.
fn question<'a>(
    query: &'a Message<[u8]>,
    soa: &Record,
) -> std::result::Result<Question<ParsedName<&'a [u8]>>, Rcode> {
    if query.header().opcode() != Opcode::QUERY {
        return Err(Rcode::NOTIMP);
    }
    let question = query.sole_question().map_err(|_| Rcode::FORMERR)?;
    let mut edns_records = 0;
    for record in query.additional().map_err(|_| Rcode::FORMERR)? {
        let record = record.map_err(|_| Rcode::FORMERR)?;
        edns_records += usize::from(record.rtype() == Rtype::OPT);
    }
    if edns_records > 1 {
        return Err(Rcode::FORMERR);
    }
    let is_transfer = [Rtype::AXFR, Rtype::IXFR].contains(&question.qtype());
    let is_in_zone = question.qclass() == Class::IN && question.qname().ends_with(soa.owner());
    if is_in_zone && !is_transfer { Ok(question) } else { Err(Rcode::REFUSED) }
}

/// The answer of the zone to a question.
#[derive(Default)]
struct Found<'a> {
    is_authoritative: bool,
    records: Vec<&'a Record>,
    /// The authority if there are no records: the SOA tells the client how long it may remember
    /// that.
    soa: Option<&'a Record>,
    is_nowhere: bool,
}

fn look_up<'a>(zone: &'a [Record], question: &Question<ParsedName<&[u8]>>) -> Found<'a> {
    let mut found = Found { is_authoritative: true, ..Found::default() };
    let mut name = question.qname().to_vec();
    // An alias may lead to another one, and at last back to itself.
    for _ in zone {
        let here: Vec<_> = zone.iter().filter(|record| record.owner().name_eq(&name)).collect();
        // To a question for everything one type is answer enough: RFC 8482.
        let wanted = match (question.qtype(), here.first()) {
            (Rtype::ANY, Some(first)) => first.rtype(),
            (other, _) => other,
        };
        let records = here.iter().copied().filter(|record| record.rtype() == wanted);
        let before = found.records.len();
        found.records.extend(records);
        if found.records.len() > before {
            return found;
        }
        let alias = here.iter().find_map(|record| match record.data() {
            ZoneRecordData::Cname(cname) => Some((*record, cname.cname().to_vec())),
            _ => None,
        });
        let Some((record, target)) = alias else {
            found.is_nowhere = !zone.iter().any(|record| record.owner().ends_with(&name));
            found.soa = zone.first();
            return found;
        };
        found.records.push(record);
        if !target.ends_with(zone[0].owner()) {
            return found;
        }
        name = target;
    }
    found
}

export!(OverUdp as BaseRequestHandler<Datagram>);
export!(OverTcp as StreamRequestHandler);
