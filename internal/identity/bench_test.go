package identity

import "testing"

func BenchmarkVerify(b *testing.B) {
	book := people(b, Inputs{})
	line, err := seeded(b, 1).Sign(conversation, []byte(verdictLine))
	if err != nil {
		b.Fatal(err)
	}
	e := decoded(b, line)
	for b.Loop() {
		if signer, err := book.Verify(conversation, line, e); signer != "anna" || err != nil {
			b.Fatal(signer, err)
		}
	}
}
