# title: Nobody blocks loopback, Lockstep's or a system's own address, or a whole private range
# why: Such a block cuts off the ward, or the way to take the block back.
# owner: security
# severity: denies
package lockstep

import data.lockstep.lib

deny contains {
	"code": "ip-block/not-a-network",
	"resource": lib.resource(change),
	"msg": sprintf("%s is not an address range: write it as 192.0.2.7/32", [change.name]),
	"msg_ja": sprintf("%s はアドレス範囲ではありません。192.0.2.7/32 のように書いてください", [change.name]),
} if {
	some change in ip_block_changes
	not net.cidr_is_valid(change.name)
}

deny contains {
	"code": "ip-block/loopback",
	"resource": lib.resource(change),
	"msg": sprintf("%s takes in loopback (%s): block a narrower range", [change.name, loopback]),
	"msg_ja": sprintf("%s はループバック (%s) を含みます。範囲を狭めてください", [change.name, loopback]),
} if {
	some change in ip_block_changes
	some loopback in ["127.0.0.0/8", "::1/128", "::ffff:127.0.0.0/104"]
	ip_block_overlap(change.name, loopback)
}

deny contains {
	"code": "ip-block/private-range",
	"resource": lib.resource(change),
	"msg": sprintf("%s takes in the whole private range %s: block the addresses that you mean", [change.name, private]),
	"msg_ja": sprintf("%s はプライベート範囲 %s の全体を含みます。対象のアドレスだけを指定してください", [change.name, private]),
} if {
	some change in ip_block_changes
	some private in [
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
		"::ffff:10.0.0.0/104", "::ffff:172.16.0.0/108", "::ffff:192.168.0.0/112",
	]
	net.cidr_is_valid(change.name)
	net.cidr_contains(change.name, private)
}

# In pieces it is the same: those that are there already count.
deny contains {
	"code": "ip-block/private-range",
	"resource": lib.resource(change),
	"msg": sprintf("%s completes a block of the whole private range %s: block the addresses that you mean", [change.name, private]),
	"msg_ja": sprintf("%s により、プライベート範囲 %s の全体が遮断されます。対象のアドレスだけを指定してください", [change.name, private]),
} if {
	some change in ip_block_changes
	some private, length in {"10.0.0.0/8": 8, "172.16.0.0/12": 12, "192.168.0.0/16": 16}
	pieces := ip_block_pieces(private, length)
	change.name in pieces
	whole := sum([ip_block_share(piece, length) |
		some piece in pieces
		count({other | some other in pieces; other != piece; net.cidr_contains(other, piece)}) == 0
	])
	whole >= 256
}

# The blocks inside a range that are at least a 256th of it: of smaller ones nobody writes as many as it would take, and there are at most
# 510 of these.
ip_block_pieces(private, length) := {name |
	some name, _ in input.after.IpBlock
	net.cidr_is_valid(name)
	contains(name, ".")
	not contains(name, ":")
	net.cidr_contains(private, name)
	name != private
	to_number(split(name, "/")[1]) <= length + 8
}

# In 256ths of the range.
ip_block_share(piece, length) := bits.lsh(1, (length + 8) - to_number(split(piece, "/")[1]))

deny contains {
	"code": "ip-block/own-address",
	"resource": lib.resource(change),
	"msg": sprintf("%s takes in %s, over which Lockstep reaches the systems: the block could not be taken back", [change.name, address]),
	"msg_ja": sprintf("%s は Lockstep がシステムとの通信に使う %s を含みます。この遮断は取り消せなくなります", [change.name, address]),
} if {
	some change in ip_block_changes
	some address in ip_block_own
	ip_block_overlap(change.name, ip_block_network(address))
}

ip_block_changes contains change if {
	some change in input.changes
	change.kind == "IpBlock"
	change.op != "delete"
}

# A host that is a name, not an address, has no network and protects nothing here.
ip_block_own contains address if some address in input.reconciler_addresses

ip_block_own contains system.host if {
	some system in input.systems
	is_string(system.host)
}

ip_block_network(address) := network if {
	network := sprintf("%s/32", [address])
	contains(address, ".")
	net.cidr_is_valid(network)
}

ip_block_network(address) := network if {
	network := sprintf("%s/128", [address])
	contains(address, ":")
	net.cidr_is_valid(network)
}

ip_block_overlap(a, b) if {
	net.cidr_is_valid(a)
	net.cidr_contains(a, b)
}

ip_block_overlap(a, b) if {
	net.cidr_is_valid(a)
	net.cidr_contains(b, a)
}
