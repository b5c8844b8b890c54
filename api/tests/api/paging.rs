//! Lists, page by page.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::ids::TicketId;
use shared::on_both;
use shared::testkit::Testbed;

use crate::answer::{Answer, text};
use crate::server::Server;

on_both! {
    a_list_says_how_it_goes_on,
    pages_of_ties_join_to_the_whole_list,
    tickets_opened_between_pages_neither_repeat_nor_hide_others,
    a_page_may_start_at_an_offset,
    a_page_has_1_to_100_tickets_and_20_unless_told,
    the_total_is_counted_on_request_over_all_pages,
    a_cursor_is_good_for_one_order_only,
    a_cursor_that_was_not_given_out_is_refused,
}

async fn open_many(server: &Server, count: usize) {
    for n in 0..count {
        server.open(json!({ "title": format!("{n:03}") })).await;
    }
}

fn cursor(page: &Answer) -> String {
    text(&page.json["meta"]["next_cursor"]).to_owned()
}

/// Every ticket's number, page by page.
async fn walk(server: &Server, query: &str, limit: usize) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut next = String::new();
    loop {
        let page = server.staff.get(&format!("/tickets?{query}&limit={limit}{next}")).await.expect(200);
        let found = page.each("number");
        let more = page.json["meta"]["has_more"].as_bool().unwrap();
        assert_eq!(more, !page.json["meta"]["next_cursor"].is_null());
        assert!(found.len() == limit || !more, "only the last page may be short");
        numbers.extend(found);
        if !more {
            return numbers;
        }
        next = format!("&cursor={}", cursor(&page));
    }
}

async fn a_list_says_how_it_goes_on(t: Testbed) {
    let server = Server::over(t);
    let empty = server.staff.get("/tickets").await.expect(200);
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(empty.json, @r#"
        {
          "data": [],
          "errors": [],
          "message": null,
          "meta": {
            "has_more": false,
            "limit": 20,
            "next_cursor": null
          },
          "success": true
        }
        "#);
    }
    open_many(&server, 4).await;
    let first = server.staff.get("/tickets?limit=2").await.expect(200);
    let meta = &first.json["meta"];
    assert_eq!(*meta, json!({ "has_more": true, "limit": 2, "next_cursor": cursor(&first) }));
    let second = server.staff.get(&format!("/tickets?limit=2&cursor={}", cursor(&first))).await.expect(200);
    assert_eq!(second.json["meta"], json!({ "has_more": false, "limit": 2, "next_cursor": null }));
    assert_eq!([first.each("title"), second.each("title")].concat(), ["003", "002", "001", "000"]);
}

async fn pages_of_ties_join_to_the_whole_list(t: Testbed) {
    let server = Server::over(t);
    // All at one instant; every other key has ties as well.
    for n in 0..11 {
        let priority = ["critical", "high", "medium", "low"][n % 4];
        let ticket = server.open(json!({ "priority": priority })).await;
        server.walk(&ticket, [&[][..], &["open"], &["pending_info"]][n % 3]).await;
    }
    for key in ["created_at", "updated_at", "priority", "status", "due_at"] {
        for sort in [key.to_owned(), format!("-{key}")] {
            let query = format!("sort={sort}");
            let whole = walk(&server, &query, 100).await;
            assert_eq!(whole.iter().collect::<HashSet<_>>().len(), 11);
            for limit in [1, 3, 10, 11] {
                assert_eq!(walk(&server, &query, limit).await, whole, "{sort} by {limit}");
            }
        }
    }
    let filtered = walk(&server, "status=open&status=new&sort=-priority", 2).await;
    assert_eq!(filtered, walk(&server, "status=open&status=new&sort=-priority", 100).await);
    assert_eq!(filtered.len(), 8);
}

async fn tickets_opened_between_pages_neither_repeat_nor_hide_others(t: Testbed) {
    let server = Server::over(t);
    open_many(&server, 6).await;
    for (sort, old, also_new) in
        [("-created_at", true, false), ("created_at", true, true), ("priority", true, true)]
    {
        let before = walk(&server, &format!("sort={sort}"), 100).await;
        let mut seen = Vec::new();
        let mut next = String::new();
        loop {
            let page = server.staff.get(&format!("/tickets?sort={sort}&limit=2{next}")).await.expect(200);
            seen.extend(page.each("number"));
            if seen.len() < before.len() {
                server.bed.advance(TimeDelta::seconds(1));
                server.open(json!({})).await;
            }
            if page.json["meta"]["has_more"] == false {
                break;
            }
            next = format!("&cursor={}", cursor(&page));
        }
        let unique: HashSet<_> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "{sort}: nothing repeats");
        assert_eq!(before.iter().all(|number| unique.contains(number)), old, "{sort}: nothing is hidden");
        assert_eq!(seen.len() > before.len(), also_new, "{sort}");
    }
}

async fn a_page_may_start_at_an_offset(t: Testbed) {
    let server = Server::over(t);
    open_many(&server, 5).await;
    let page = server.staff.get("/tickets?sort=created_at&offset=2&limit=2").await.expect(200);
    assert_eq!(page.each("title"), ["002", "003"]);
    assert_eq!(page.json["meta"]["has_more"], true);
    let page = server.staff.get("/tickets?sort=created_at&offset=4&limit=2").await.expect(200);
    assert_eq!((page.each("title"), &page.json["meta"]["has_more"]), (vec!["004".into()], &json!(false)));
    for beyond in ["5", "1000000"] {
        let page = server.staff.get(&format!("/tickets?offset={beyond}")).await.expect(200);
        assert_eq!((page.data(), &page.json["meta"]["has_more"]), (&json!([]), &json!(false)));
    }
    for odd in ["-1", "1000001", "1.5", "two", "", "99999999999999999999"] {
        server.staff.get(&format!("/tickets?offset={odd}")).await.blames(&[("offset", "invalid")]);
    }
}

async fn a_page_has_1_to_100_tickets_and_20_unless_told(t: Testbed) {
    let server = Server::over(t);
    open_many(&server, 25).await;
    for (query, expected) in
        [("", 20), ("?limit=1", 1), ("?limit=20", 20), ("?limit=25", 25), ("?limit=100", 25)]
    {
        let page = server.staff.get(&format!("/tickets{query}")).await.expect(200);
        assert_eq!(page.each("number").len(), expected, "{query}");
        assert_eq!(page.json["meta"]["has_more"], expected < 25, "{query}");
    }
    for odd in ["0", "-1", "101", "1e1", "ten", "", "0x10", "99999999999999999999"] {
        let refused =
            server.staff.get(&format!("/tickets?limit={odd}")).await.blames(&[("limit", "invalid")]);
        assert_eq!(refused.json["errors"][0]["message"], "Must be a whole number, from 1 to 100.");
    }
}

async fn the_total_is_counted_on_request_over_all_pages(t: Testbed) {
    let server = Server::over(t);
    open_many(&server, 7).await;
    let page = server.staff.get("/tickets?limit=2&count=true").await.expect(200);
    assert_eq!(page.json["meta"]["total"], 7);
    let after = cursor(&page);
    for query in [format!("cursor={after}&limit=2"), "offset=6".into(), "sort=due_at&limit=1".into()] {
        let page = server.staff.get(&format!("/tickets?count=true&{query}")).await.expect(200);
        assert_eq!(page.json["meta"]["total"], 7, "{query}");
    }
    let none = server.staff.get("/tickets?count=true&label=x").await.expect(200);
    assert_eq!(none.json["meta"]["total"], 0);
    for query in ["", "?count=false"] {
        let page = server.staff.get(&format!("/tickets{query}")).await.expect(200);
        assert_eq!(page.json["meta"].get("total"), None);
    }
}

async fn a_cursor_is_good_for_one_order_only(t: Testbed) {
    let server = Server::over(t);
    open_many(&server, 3).await;
    let sorts = ["created_at", "-created_at", "updated_at", "priority", "-priority", "status", "due_at"];
    for given in sorts {
        let page = server.staff.get(&format!("/tickets?limit=1&sort={given}")).await.expect(200);
        for used in sorts {
            let answer = server.staff.get(&format!("/tickets?sort={used}&cursor={}", cursor(&page))).await;
            if used == given {
                assert_eq!(answer.expect(200).each("number").len(), 2);
            } else {
                answer.blames(&[("cursor", "invalid")]);
            }
        }
    }
    let page = server.staff.get("/tickets?limit=1").await.expect(200);
    server.staff.get(&format!("/tickets?sort=-created_at&cursor={}", cursor(&page))).await.expect(200);
}

async fn a_cursor_that_was_not_given_out_is_refused(t: Testbed) {
    let server = Server::over(t);
    open_many(&server, 3).await;
    let page = server.staff.get("/tickets?limit=1").await.expect(200);
    let real = cursor(&page);
    let (id, now) = (TicketId::new(), server.bed.now());
    let made_up: Vec<Value> = vec![
        json!({}),
        json!([]),
        json!({ "sort": "-created_at" }),
        json!({ "sort": "-created_at", "id": id }),
        json!({ "sort": "-created_at", "rank": 1, "id": id }),
        json!({ "sort": "-created_at", "at": 5, "id": id }),
        json!({ "sort": "-created_at", "at": "-200000-01-01T00:00:00Z", "id": id }),
        json!({ "sort": "-created_at", "at": "+200000-01-01T00:00:00Z", "id": id }),
        json!({ "sort": "-created_at", "at": now, "id": "x" }),
        json!({ "sort": "--created_at", "at": now, "id": id }),
    ];
    let made_up = made_up.iter().map(|cursor| URL_SAFE_NO_PAD.encode(cursor.to_string()));
    let garbage =
        ["x", "null", "%3D%3D", "AAAA", &real[1..], &real[..real.len() - 4], &format!("{real}AAAA")];
    for cursor in garbage.map(str::to_owned).into_iter().chain(made_up) {
        let refused = server.staff.get(&format!("/tickets?cursor={cursor}")).await;
        refused.blames(&[("cursor", "invalid")]);
    }
    let by_rank = json!({ "sort": "priority", "at": now, "id": id }).to_string();
    let refused =
        server.staff.get(&format!("/tickets?sort=priority&cursor={}", URL_SAFE_NO_PAD.encode(by_rank))).await;
    refused.blames(&[("cursor", "invalid")]);
    server.staff.get("/tickets?cursor=").await.blames(&[("cursor", "empty")]);
    server.staff.get(&format!("/tickets?cursor={}", "A".repeat(501))).await.blames(&[("cursor", "too_long")]);
}
