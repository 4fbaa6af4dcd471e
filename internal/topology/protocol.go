package topology

import "strconv"

// Protocol is the version of the contract between programs on the bus: subjects,
// events, headers, records and who may write what (docs/protocol.md). It is not the
// version of the product. Additions do not change it; a change after which a program
// of today would do something wrong does.
const Protocol = 1

// MetadataProtocol is the metadata key of each stream and bucket that has the protocol
// of the deployment. One that lacks it is of protocol 1.
const MetadataProtocol = "parley.protocol"

// HeaderProtocol is the header of an input, a job and a request to a hook that has the
// protocol of its sender. Without it that is 1.
const HeaderProtocol = "Parley-Protocol"

// ProtocolText is [Protocol] as metadata and headers have it.
func ProtocolText() string { return strconv.Itoa(Protocol) }

// ProtocolOf returns the protocol that metadata or a header names, which anybody may
// have written: what names none counts as 1.
func ProtocolOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 1
	}
	return n
}
