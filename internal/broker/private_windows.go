package broker

// private accepts every directory: what others may do follows from its access list,
// which a new directory has from the one that it is in.
func private(string) error { return nil }
