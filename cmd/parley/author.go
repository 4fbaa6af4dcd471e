package main

// author names who gave an input: the identity that signed it, or the name that the
// app gave, which anybody can write.
func author(signer, from string) string {
	switch {
	case signer != "":
		return plainLine(signer)
	case from != "":
		return plainLine(from) + " (unverified)"
	}
	return "somebody"
}
