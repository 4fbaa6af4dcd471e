package arithmetic

import (
	"math"
	"math/big"
	"strings"
)

const (
	significant  = 15  // digits of a rounded value
	maxDecimals  = 40  // fractional digits of an exact value
	roundedBits  = 200 // a rounded value with more bits is cut to roundedWidth
	roundedWidth = 100 // bits of mantissa, well above the printed digits
)

// Value is the result of an evaluation.
type Value struct {
	r *big.Rat
	// Rounded reports that the value is not exact, because of an irrational
	// function or constant.
	Rounded bool
}

// String formats an exact value with up to 40 fractional digits, a rounded
// value with 15 significant digits and the word "(rounded)".
func (v Value) String() string {
	if v.r == nil {
		return "0"
	}
	if !v.Rounded {
		if n, exact := v.r.FloatPrec(); exact && n <= maxDecimals {
			return v.r.FloatString(n)
		}
	}
	if v.r.Sign() == 0 {
		return "0 (rounded)"
	}
	text := new(big.Float).SetPrec(256).SetRat(v.r).Text('e', significant-1)
	mantissa, exponent, _ := strings.Cut(text, "e")
	exponent = strings.TrimPrefix(exponent, "+")
	if trimmed := strings.TrimLeft(exponent, "-0"); strings.HasPrefix(exponent, "-") {
		exponent = "-" + trimmed
	} else {
		exponent = trimmed
	}
	switch n := magnitude(exponent); {
	case n >= -7 && n < significant:
		return trimZeros(v.r.FloatString(significant-1-n)) + " (rounded)"
	default:
		return trimZeros(mantissa) + "e" + exponent + " (rounded)"
	}
}

// magnitude parses an exponent printed by big.Float. Values are bounded by
// MaxBits, so it has few digits.
func magnitude(exponent string) int {
	n := 0
	for _, c := range strings.TrimPrefix(exponent, "-") {
		n = n*10 + int(c-'0')
	}
	if strings.HasPrefix(exponent, "-") {
		return -n
	}
	return n
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// bounded returns an error for a value above MaxBits.
func (p *parser) bounded(at int, v Value) (Value, error) {
	bits := max(v.r.Num().BitLen(), v.r.Denom().BitLen())
	if v.Rounded && bits > roundedBits {
		new(big.Float).SetPrec(roundedWidth).SetRat(v.r).Rat(v.r)
		bits = max(v.r.Num().BitLen(), v.r.Denom().BitLen())
	}
	if bits > MaxBits {
		return Value{}, p.tooLarge(at)
	}
	return v, nil
}

func (p *parser) tooLarge(at int) error {
	return p.fail(at, "the result is too large or too fine: at most about %d digits", int(MaxBits*math.Log10(2)))
}

// inexact returns a rounded value from a function's float.
func (p *parser) inexact(at int, f float64) (Value, error) {
	r := new(big.Rat)
	if r.SetFloat64(f) == nil { // infinite or not a number
		return Value{}, p.tooLarge(at)
	}
	return p.bounded(at, Value{r, true})
}

// floor returns the largest integer that is not above r.
func floor(r *big.Rat) *big.Int {
	return new(big.Int).Div(r.Num(), r.Denom()) // Euclidean, and a denominator is positive
}
