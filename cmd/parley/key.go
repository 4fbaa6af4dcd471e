package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/identity"
)

func (a *app) keyCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print the public key with which inputs are signed",
		Long: `Print the public key with which this command line signs messages, verdicts and other
inputs: that of the file in PARLEY_SIGN_KEY, or else of NATS_NKEY or NATS_CREDS. A
deployment lists the public keys of people and apps in its rules file, under
identities. --new makes a key and writes its secret seed to a file.`,
		Example: `  parley key --new ~/.parley.nk
  export PARLEY_SIGN_KEY=~/.parley.nk`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			public, err := a.publicKey(file)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(stdout(), public)
			return outputError(err)
		},
	}
	cmd.Flags().StringVar(&file, "new", "", "make a key and write its seed to this file, which must not exist")
	return cmd
}

// publicKey returns the public key of the environment, or of a new seed file.
func (a *app) publicKey(file string) (string, error) {
	if file != "" {
		return newKey(file)
	}
	path := cmp.Or(a.cfg.NATS.SignKey, a.cfg.NATS.NKey, a.cfg.NATS.Creds)
	if path == "" {
		return "", usagef("inputs are not signed: set PARLEY_SIGN_KEY to a file with a seed; `parley key --new FILE` makes one")
	}
	key, err := identity.ReadKey(path)
	if err != nil {
		return "", err
	}
	return key.Public(), nil
}

// newKey makes a key and writes its seed to a file that only its owner can read.
func newKey(file string) (public string, err error) {
	key, seed, err := identity.NewKey()
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return "", usagef("%s exists: a new key does not replace it", file)
	}
	if err != nil {
		return "", fmt.Errorf("write the seed: %w", err)
	}
	_, err = f.Write(seed)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("write the seed: %w", err)
	}
	return key.Public(), nil
}
