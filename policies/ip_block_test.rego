package lockstep_test.ip_block

facts(op, cidr) := {
	"proposal": {"author": "sato", "approvals": [], "files": []},
	"systems": {"medical": {"host": "203.0.113.9"}, "voicedrive": {"host": "voicedrive.example"}, "payroll": {"host": null}},
	"reconciler_addresses": ["192.0.2.1", "2001:db8::1"],
	"changes": [{"op": op, "kind": "IpBlock", "name": cidr, "systems": ["medical"], "before": null, "after": {}, "direction": "narrowing"}],
}

denied(op, cidr) := {trim_prefix(m.code, "ip-block/") |
	some m in denials
	startswith(m.code, "ip-block/")
} if {
	denials := data.lockstep.deny with input as facts(op, cidr)
}

test_an_ordinary_block if {
	every cidr in ["192.168.1.100/32", "198.51.100.0/24", "10.1.0.0/16", "2001:db8:1::/48"] {
		denied("create", cidr) == set()
	}
}

test_loopback if {
	every cidr in ["127.0.0.1/32", "127.0.0.0/8", "126.0.0.0/7", "::1/128", "::ffff:127.0.0.1/128"] {
		denied("create", cidr) == {"loopback"}
	}
}

test_whole_private_ranges if {
	every cidr in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "192.0.0.0/8", "fc00::/7", "::ffff:10.0.0.0/104"] {
		"private-range" in denied("update", cidr)
	}
}

test_everything if {
	denied("create", "0.0.0.0/0") == {"loopback", "private-range", "own-address"}
	denied("create", "::/0") == {"loopback", "private-range", "own-address"}
}

test_the_reconciler if {
	every cidr in ["192.0.2.1/32", "192.0.2.0/24", "2001:db8::/32"] {
		denied("create", cidr) == {"own-address"}
	}
}

test_a_system if denied("create", "203.0.113.0/24") == {"own-address"}

test_no_network if {
	every name in ["medical", "10.0.0.1", "10.0.0.0/33", "999.1.1.1/32"] {
		denied("create", name) == {"not-a-network"}
	}
}

test_unblocking_is_free if denied("delete", "127.0.0.1/32") == set()

pieces(names, changed) := {trim_prefix(m.code, "ip-block/") |
	some m in denials
	m.resource == concat("/", ["IpBlock", changed])
} if {
	after := {"after": {"IpBlock": {name: {"spec": {}, "systems": ["medical"]} | some name in names}}}
	denials := data.lockstep.deny with input as object.union(facts("create", changed), after)
}

test_a_private_range_in_pieces if {
	pieces(["10.0.0.0/9", "10.128.0.0/9"], "10.0.0.0/9") == {"private-range"}
	pieces(["10.0.0.0/9", "10.128.0.0/10", "10.192.0.0/10"], "10.192.0.0/10") == {"private-range"}
	quarters := ["192.168.0.0/18", "192.168.64.0/18", "192.168.128.0/18", "192.168.192.0/18"]
	pieces(quarters, "192.168.64.0/18") == {"private-range"}
}

test_some_pieces_of_a_private_range if {
	pieces(["10.0.0.0/9", "10.128.0.0/10"], "10.0.0.0/9") == set()
	# A piece of a piece does not count again.
	pieces(["10.0.0.0/9", "10.0.0.0/10", "10.64.0.0/10"], "10.0.0.0/9") == set()
	pieces(["10.0.0.0/9", "10.128.0.0/9"], "198.51.100.0/24") == set()
}
