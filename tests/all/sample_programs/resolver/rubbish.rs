//! Datagrams that a name server gets.

use super::{A, ANY, AXFR, FORMERR, NOERROR, NOTIMP, NXDOMAIN, REFUSED, SOA};
use super::{header, query, question, with_edns};

/// A name for messages, a datagram, and the code of the answer, or none if there must not be one.
type Case = (&'static str, Vec<u8>, Option<u16>);

/// Returns datagrams that any client may send.
pub fn rubbish() -> Vec<Case> {
    let answered = malformed().into_iter().chain(other_queries());
    let answered = answered.map(|(name, datagram, code)| (name, datagram, Some(code)));
    not_queries()
        .into_iter()
        .map(|(name, datagram)| (name, datagram, None))
        .chain(answered)
        .collect()
}

fn not_queries() -> Vec<(&'static str, Vec<u8>)> {
    let www = question("www.example.test", A, 1);
    vec![
        ("nothing", Vec::new()),
        ("one byte", vec![0]),
        ("eleven bytes", vec![0; 11]),
        ("an answer", header(0x8000, [0; 4])),
        ("an answer with a question", [header(0x8100, [1, 0, 0, 0]), www].concat()),
        ("rubbish with the bit of answers", vec![0xff; 3000]),
    ]
}

fn malformed() -> Vec<(&'static str, Vec<u8>, u16)> {
    let www = question("www.example.test", A, 1);
    let with_counts = |counts, body: &[u8]| [header(0, counts), body.to_vec()].concat();
    let named = |name: &[u8]| with_counts([1, 0, 0, 0], &[name, &[0, 1, 0, 1]].concat());
    let with_edns = with_edns("www.example.test", A, 512, 0);
    let edns = &with_edns[12 + www.len()..];
    let chain: Vec<u8> = (0..250_u16).flat_map(|n| (0xc00e + 2 * n).to_be_bytes()).collect();
    let datagrams = vec![
        ("a header alone", header(0, [0; 4])),
        ("a header that announces a question", header(0, [1, 0, 0, 0])),
        ("a header that announces everything", header(0, [0xffff; 4])),
        ("two questions", with_counts([2, 0, 0, 0], &www.repeat(2))),
        ("a name that leads to itself", named(&[0xc0, 12])),
        ("a label and then itself", named(&[1, b'a', 0xc0, 12])),
        ("two names that lead to each other", named(&[0xc0, 14, 0xc0, 12])),
        ("a chain of pointers", named(&chain)),
        ("a pointer beyond the end", named(&[0xff, 0xff])),
        ("a pointer that is cut", with_counts([1, 0, 0, 0], &[0xc0])),
        ("a label of 255", named(&[255; 256])),
        ("a label of 128", named(&[128; 200])),
        ("a label beyond the end", with_counts([1, 0, 0, 0], &[63, b'a'])),
        ("a name of 257", named(&[&[63; 256][..], &[0]].concat())),
        ("a question without a type", with_counts([1, 0, 0, 0], &[3, b'w', b'w', b'w', 0])),
        ("65,535 records that are not there", with_counts([1, 0xffff, 0xffff, 0xffff], &www)),
        ("two records of EDNS", with_counts([1, 0, 0, 2], &[&www[..], edns, edns].concat())),
        ("EDNS that is cut", with_edns[..with_edns.len() - 3].to_vec()),
        ("the longest datagram", named(&vec![1; 65_507 - 12 - 4])),
    ];
    datagrams.into_iter().map(|(name, datagram)| (name, datagram, FORMERR)).collect()
}

fn other_queries() -> Vec<(&'static str, Vec<u8>, u16)> {
    let one = |flags, question: &[u8]| [header(flags, [1, 0, 0, 0]), question.to_vec()].concat();
    let www = |class| question("www.example.test", A, class);
    let with_zeros = b"\x03\0.\xff\x07example\x04test\0\0\x01\0\x01";
    vec![
        ("an update", one(5 << 11, &www(1)), NOTIMP),
        ("a reserved operation", one(15 << 11, &www(1)), NOTIMP),
        ("a transfer of the zone", query("example.test", AXFR), REFUSED),
        ("the class CHAOS", one(0, &www(3)), REFUSED),
        ("every class", one(0, &www(255)), REFUSED),
        ("another zone", query("www.example.com", A), REFUSED),
        ("the root", query("", SOA), REFUSED),
        ("a part of the zone's name", query("test", A), REFUSED),
        ("everything about a name", query("www.example.test", ANY), NOERROR),
        ("a name with zeros and dots", one(0, with_zeros), NXDOMAIN),
        ("every flag but that of answers", one(0x07ff, &www(1)), NOERROR),
        (
            "a query, and more after it",
            [query("www.example.test", A), vec![0xff; 5000]].concat(),
            NOERROR,
        ),
    ]
}
