package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// Codes of JetStream's errors that nats.go does not export, by the server's names.
const (
	codeAccountLimit          jetstream.ErrorCode = 10002 // the account's max_file, or max_mem
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeMaximumStreams        jetstream.ErrorCode = 10027
	codeStorageExceeded       jetstream.ErrorCode = 10047
	codeStreamStoreFailed     jetstream.ErrorCode = 10077 // storing a message failed; the description has the reason
	codeMaxBytesRequired      jetstream.ErrorCode = 10113
)

// lastingError marks an error that a retry cannot fix: a wrong configuration, or a
// missing permission.
type lastingError struct{ error }

func (e lastingError) Unwrap() error { return e.error }

// lasting reports whether connecting again is useless.
func lasting(err error) bool {
	for _, refused := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrPermissionViolation, nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, jetstream.ErrStreamNameAlreadyInUse} {
		if errors.Is(err, refused) {
			return true
		}
	}
	if _, ok := errors.AsType[lastingError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code == 400 && !isFull(err)
}

// Lasting reports whether an error comes from the payload itself, so that a retry
// is useless.
func Lasting(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return errors.Is(err, ErrTooLarge) || errors.Is(err, topology.ErrBadID) || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		ok && api.Code == 400 && !isWrongLast(api) && !isFull(err)
}

// permanent reports whether trying the same publish again is useless.
func permanent(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrPermissionViolation) ||
		errors.As(err, &api) && api.Code == 400 && !isWrongLast(api)
}

// isWrongLast reports whether the server refused an append because the lane's last
// message is another one. A replicated stream answers with a code of its own.
func isWrongLast(api *jetstream.APIError) bool {
	return api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// Denied reports whether an error is a missing permission of this user.
func Denied(err error) bool { return errors.Is(err, nats.ErrPermissionViolation) }

// isFull reports whether the server has no space left: insufficient resources,
// storage resources exceeded, the account's limit reached, or a message that could not be stored, such as in a
// stream at its limit.
func isFull(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == codeAccountLimit || api.ErrorCode == codeInsufficientResources || api.ErrorCode == codeStorageExceeded || api.ErrorCode == codeStreamStoreFailed)
}

func explainJetStream(err error) error {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) || errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("the NATS server has no JetStream: start it with `nats-server -js` and allow the account to use it: %w", err)
	}
	if isFull(err) {
		return fmt.Errorf("the NATS server has no space left for JetStream: free the disk, or raise max_file_store or the account's max_file: %w", err)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("it is missing on the server; an orchestrator or `parley up` makes it again within seconds: %w", err)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeMaximumStreams:
			return fmt.Errorf("the account may not have as many streams as Parley needs: raise its max_streams: %w", err)
		case jetstream.JSErrCodeMaximumConsumersLimit:
			return fmt.Errorf("the account may not have as many consumers as Parley needs: raise its max_consumers, or remove the limit: %w", err)
		case codeMaxBytesRequired:
			return fmt.Errorf("the account wants a limit on every stream: turn max_bytes_required off for Parley's account: %w", err)
		}
	}
	return fmt.Errorf("JetStream: %w", err)
}
