package netslot

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The words in which rules are written. Each returns a part of a rule; a rule
// is its parts in a row.

// part is some expressions of a rule.
type part = []expr.Any

// Registers: the first 16 bytes, and the ones behind them.
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

// ifname is an interface name as the kernel compares it.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func equal(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: reg1, Data: data}
}

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg1} }

func from(name string) part {
	return part{meta(expr.MetaKeyIIFNAME), equal(expr.CmpOpEq, ifname(name))}
}

func notFrom(name string) part {
	return part{meta(expr.MetaKeyIIFNAME), equal(expr.CmpOpNeq, ifname(name))}
}

func to(name string) part {
	return part{meta(expr.MetaKeyOIFNAME), equal(expr.CmpOpEq, ifname(name))}
}

func notTo(name string) part {
	return part{meta(expr.MetaKeyOIFNAME), equal(expr.CmpOpNeq, ifname(name))}
}

// toAny matches interfaces whose names begin with prefix; notToAny all others.
func toAny(prefix string) part {
	return part{meta(expr.MetaKeyOIFNAME), equal(expr.CmpOpEq, []byte(prefix))}
}

func notToAny(prefix string) part {
	return part{meta(expr.MetaKeyOIFNAME), equal(expr.CmpOpNeq, []byte(prefix))}
}

// family is one of the two versions of IP, and where its headers have what.
type family struct {
	proto     byte
	icmp      byte
	src, dst  uint32 // offsets
	size      uint32 // of an address
	addresses nftables.SetDatatype
	suffix    string // of names of sets
}

var (
	ip4 = &family{unix.NFPROTO_IPV4, unix.IPPROTO_ICMP, 12, 16, 4, nftables.TypeIPAddr, "4"}
	ip6 = &family{unix.NFPROTO_IPV6, unix.IPPROTO_ICMPV6, 8, 24, 16, nftables.TypeIP6Addr, "6"}
)

var families = []*family{ip4, ip6}

func familyOf(a netip.Addr) *family {
	if a.Is4() {
		return ip4
	}
	return ip6
}

func (f *family) is() part {
	return part{meta(expr.MetaKeyNFPROTO), equal(expr.CmpOpEq, []byte{f.proto})}
}

func (f *family) load(offset uint32, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size}
}

// source and destination match one address.
func source(a netip.Addr) part {
	f := familyOf(a)
	return append(f.is(), f.load(f.src, reg1), equal(expr.CmpOpEq, a.AsSlice()))
}

func notSource(a netip.Addr) part {
	f := familyOf(a)
	return append(f.is(), f.load(f.src, reg1), equal(expr.CmpOpNeq, a.AsSlice()))
}

func destination(a netip.Addr) part {
	f := familyOf(a)
	return append(f.is(), f.load(f.dst, reg1), equal(expr.CmpOpEq, a.AsSlice()))
}

func lookup(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: reg1, SetName: s.Name, SetID: s.ID}
}

// sourceIn and destinationIn match the addresses of a set.
func (f *family) sourceIn(s *nftables.Set) part {
	return append(f.is(), f.load(f.src, reg1), lookup(s))
}

func (f *family) destinationIn(s *nftables.Set) part {
	return append(f.is(), f.load(f.dst, reg1), lookup(s))
}

// refresh puts the destination into a set, or makes it stay longer there.
func (f *family) refresh(s *nftables.Set, stay time.Duration) part {
	return append(f.is(), f.load(f.dst, reg1), &expr.Dynset{
		SrcRegKey: reg1, SetName: s.Name, SetID: s.ID, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: stay,
	})
}

// fromOwner matches packets whose interface and source belong together.
func (f *family) fromOwner(s *nftables.Set) part {
	return append(f.is(), meta(expr.MetaKeyIIFNAME), f.load(f.src, reg2), lookup(s))
}

// fromIn matches interfaces of a set.
func fromIn(s *nftables.Set) part { return part{meta(expr.MetaKeyIIFNAME), lookup(s)} }

// byInterface goes where a map sends the packet's interface.
func byInterface(key expr.MetaKey, m *nftables.Set) part {
	return part{meta(key), &expr.Lookup{SourceRegister: reg1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: m.Name, SetID: m.ID}}
}

func protocol(number byte) part {
	return part{meta(expr.MetaKeyL4PROTO), equal(expr.CmpOpEq, []byte{number})}
}

func destinationPort(port uint16) part {
	return part{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		equal(expr.CmpOpEq, binary.BigEndian.AppendUint16(nil, port)),
	}
}

// state matches connections in one of the states.
func state(bits uint32) part {
	mask := binaryutil.NativeEndian.PutUint32(bits)
	return part{
		&expr.Ct{Register: reg1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		equal(expr.CmpOpNeq, make([]byte, 4)),
	}
}

const ctReply = 1 // IP_CT_DIR_REPLY

func reply() part {
	return part{&expr.Ct{Register: reg1, Key: expr.CtKeyDIRECTION}, equal(expr.CmpOpEq, []byte{ctReply})}
}

// local matches what is for the machine itself, and everything else that is not
// for one other machine.
func local() part {
	return part{
		&expr.Fib{Register: reg1, ResultADDRTYPE: true, FlagDADDR: true},
		equal(expr.CmpOpNeq, binaryutil.NativeEndian.PutUint32(unix.RTN_UNICAST)),
	}
}

// opening matches TCP packets that begin a connection.
func opening() part {
	const flags, syn = 13, 0x02
	return append(protocol(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{syn}, Xor: []byte{0}},
		equal(expr.CmpOpNeq, []byte{0}),
	)
}

// connectionsOver matches a connection that is one too many for its rule.
func connectionsOver(most int) part {
	return part{&expr.Connlimit{Count: uint32(most), Flags: expr.NFT_CONNLIMIT_F_INV}}
}

// bytesOver matches packets beyond a rate.
func bytesOver(perSecond uint64) part {
	burst := min(perSecond/4, 8<<20)
	return part{&expr.Limit{Type: expr.LimitTypePktBytes, Rate: perSecond, Unit: expr.LimitTimeSecond, Over: true, Burst: uint32(burst)}}
}

// packetsOver matches packets beyond a rate.
func packetsOver(perSecond uint64) part {
	return part{&expr.Limit{Type: expr.LimitTypePkts, Rate: perSecond, Unit: expr.LimitTimeSecond, Over: true, Burst: uint32(perSecond)}}
}

func verdict(kind expr.VerdictKind, chain string) part {
	return part{&expr.Verdict{Kind: kind, Chain: chain}}
}

func accept() part { return verdict(expr.VerdictAccept, "") }

func drop() part { return part{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}} }

func goTo(chain string) part { return verdict(expr.VerdictGoto, chain) }

// reset ends a TCP connection for who sent the packet.
func reset() part { return part{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }

// prohibited tells who sent the packet that it may not.
func prohibited() part {
	return part{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}
}

func masquerade() part { return part{&expr.Masq{}} }

// untracked keeps connections out of the kernel's table.
func untracked() part { return part{&expr.Notrack{}} }

// rule joins parts.
func rule(parts ...part) part { return slices.Concat(parts...) }
