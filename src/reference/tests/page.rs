//! The page: what it shows, that it escapes, that it follows.

use super::*;

async fn text(world: &World, path: &str) -> String {
    let response = world.call(Method::GET, path, None).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.text().await.unwrap()
}

/// The text between tags, line by line: what a reader sees.
fn seen(html: &str) -> String {
    let mut lines = Vec::new();
    for part in html.split('<').skip(1) {
        let text = part.split_once('>').map_or("", |(_, text)| text).trim();
        if !text.is_empty() {
            lines.push(text.to_owned());
        }
    }
    lines.join("\n")
}

async fn hospital() -> World {
    let mut world = World::new().await;
    let changes = [
        create(
            "FeatureFlag/ai_assistant",
            json!({"enabled": true, "rollout": 25, "description": "AI アシスタント", "owner": "sato"}),
        ),
        create("FeatureFlag/night_mode", json!({"enabled": false})),
        create(
            "InterviewType/exit",
            json!({"name": "退職面談", "classification": "人事", "retired": true, "successor": "exit_v2"}),
        ),
        create(
            "InterviewType/exit_v2",
            json!({"name": "退職面談 v2", "classification": "人事", "duration_minutes": 45}),
        ),
        create("AccessGrant/admin/user001", json!({"until": "2026-12-31"})),
        create("IpBlock/192.168.1.100/32", json!({"reason": "総当たり"})),
        create(
            "Requirement/appi-2025",
            json!({"title": "個人情報保護法", "effective": "2025-10-01"}),
        ),
        create(
            "ComplianceItem/appi-2025/medical/a",
            json!({"action": "同意書を更新", "done": true}),
        ),
        create(
            "ComplianceItem/appi-2025/medical/b",
            json!({"action": "保存期間を設定", "done": false}),
        ),
        create(
            "Notice/alerts/info",
            json!({"title": "メンテナンス", "severity": "info", "when": "22:00", "supersedes": "alerts/older"}),
        ),
        create(
            "Notice/alerts/older",
            json!({"title": "置き換え済み", "severity": "critical"}),
        ),
        create(
            "Notice/security/urgent",
            json!({"title": "脆弱性", "severity": "high", "cve": ["CVE-2025-12345"], "due": "2025-09-20"}),
        ),
        create(
            "Notice/alerts/emergency",
            json!({"title": "緊急停止", "severity": "critical"}),
        ),
        create(
            "Notice/alerts/old",
            json!({"title": "撤回済み", "retracted": true}),
        ),
        create(
            "Incident/2025-09-15-db-pool",
            json!({"title": "接続枯渇", "severity": "high", "status": "investigating", "affected": ["medical", "voicedrive"]}),
        ),
        create(
            "Incident/2025-09-15-db-pool-postmortem",
            json!({"title": "事後分析", "incident": "2025-09-15-db-pool", "cause": "上限が低い"}),
        ),
        create(
            "Experiment/button-colour",
            json!({"title": "ボタン色", "variants": [{"name": "A", "label": "青", "metric": "CTR", "value": 12}, {"name": "B", "successes": 150, "trials": 1000, "winner": true}]}),
        ),
        create("Shift/night", json!({"from": "22:00"})),
    ];
    world.apply("a", &changes).await;
    world
}

#[tokio::test]
async fn the_page_shows_what_its_users_would_see() {
    let world = hospital().await;
    let page = seen(&text(&world, "/fragment?lang=ja").await)
        .replace(&world.state.digest().short(), "DIGEST");
    insta::assert_snapshot!(page, @r#"
    リビジョン
    4b825dc642
    18 件の設定
    ダイジェスト
    DIGEST
    緊急
    緊急停止
    重要
    脆弱性
    期限
    2025-09-20
    CVE-2025-12345
    お知らせ
    メンテナンス
    時刻
    22:00
    対応中の障害
    接続枯渇
    影響: medical, voicedrive
    重要
    調査中
    機能の公開状況
    2
    オン
    AI アシスタント
    ai_assistant
    担当 sato
    25%
    ここだけオフにする
    オフ
    night_mode
    オンのとき 100%
    0%
    ここだけオンにする
    面談の種別
    人事
    退職面談 v2
    45 分
    退職面談
    廃止 · 後継 exit_v2
    法令対応
    個人情報保護法
    1/2
    施行日 2025-10-01
    ☑
    同意書を更新
    ☐
    保存期間を設定
    アクセス権限
    管理者
    user001
    期限 2026-12-31
    遮断中のアドレス
    192.168.1.100/32
    総当たり
    Shift
    1
    from
    night
    22:00
    比較試験の結果
    ボタン色
    A · 青
    CTR 12%
    B
    採用
    150/1000
    過去の障害
    事後分析
    原因: 上限が低い
    事後分析
    "#);
    let english = text(&world, "/?lang=en").await;
    assert!(english.contains("<html lang=\"en\">") && english.contains("Interview types"));
}

#[tokio::test]
async fn the_page_speaks_the_browsers_language() {
    let world = World::new().await;
    for (accepted, lang) in [
        ("ja,en;q=0.8", "ja"),
        ("en-GB,en;q=0.9,ja;q=0.1", "en"),
        ("fr, ja;q=0.5, en;q=0.4", "ja"),
        ("fr", "en"),
        ("ja;q=x", "en"),
    ] {
        let url = format!("{}/", world.server.url());
        let request = world.client.get(url).header("accept-language", accepted);
        let page = request.send().await.unwrap().text().await.unwrap();
        let expected = format!("<html lang=\"{lang}\">");
        assert!(page.contains(&expected), "{accepted}");
    }
}

#[tokio::test]
async fn nothing_shown_is_taken_for_markup() {
    let mut world = World::new().await;
    let evil = r#""><script>alert('x')</script>"#;
    let kinds = [
        "FeatureFlag",
        "InterviewType",
        "AccessGrant",
        "IpBlock",
        "Requirement",
        "ComplianceItem",
        "Notice",
        "Incident",
        "Experiment",
        "Shift",
    ];
    let spec = json!({
        "title": evil, "name": evil, "description": evil, "severity": evil, "status": evil, "reason": evil, "until": evil,
        "successor": evil, "retired": true, "action": evil, "effective": evil, "owner": evil, "when": evil,
        "body": evil, "recommendation": evil, "enabled": true, "variants": [{"name": evil, "label": evil, "metric": evil}], "impact": evil, "cause": evil, "incident": evil, "due": evil, "cve": [evil],
        "response": evil, "classification": evil, evil: evil,
    });
    let changes: Vec<_> = kinds
        .iter()
        .map(|kind| create(&format!("{kind}/\"><script>/x"), spec.clone()))
        .collect();
    world.apply("a", &changes).await;
    let page = text(&world, "/").await;
    assert_eq!(page.matches("<script").count(), 1, "only the page's own");
    assert!(!page.contains(evil) && !page.contains("\"><s"));
    let response = world.call(Method::GET, "/", None).await;
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
}

#[tokio::test]
async fn the_page_is_told_of_every_change_and_let_go_at_the_end() {
    let mut world = World::new().await;
    let mut events = world.call(Method::GET, "/events", None).await;
    let mut told = String::new();
    let first = format!("data: {}.", world.state.digest());
    while !told.contains(&first) {
        told.push_str(std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
    }
    world.apply("a", &[create("Shift/night", json!({}))]).await;
    let second = format!("data: {}.{REVISION}", world.state.digest());
    while !told.contains(&second) {
        told.push_str(std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
    }
    let World { server, .. } = world;
    let (stopped, _) = tokio::join!(server.stop(), async {
        while let Ok(Some(_)) = events.chunk().await {}
    });
    stopped.unwrap();
}

#[tokio::test]
async fn a_page_of_many_shows_some_and_says_so() {
    let mut world = World::new().await;
    let changes: Vec<_> = (0..510)
        .map(|n| {
            create(
                &format!("FeatureFlag/flag_{n:03}"),
                json!({"enabled": true}),
            )
        })
        .collect();
    world.apply("a", &changes).await;
    let page = seen(&text(&world, "/fragment?lang=en").await);
    assert!(page.contains("510 resources (10 not shown)"), "{page}");
    assert!(page.contains("flag_499") && !page.contains("flag_500"));
}
