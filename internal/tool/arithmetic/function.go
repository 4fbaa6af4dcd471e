package arithmetic

import (
	"math"
	"math/big"
	"strings"
)

// name evaluates a constant or a call of a function at the cursor.
func (p *parser) name(word string) (Value, error) {
	at := p.at
	word = strings.ToLower(word)
	p.at += len(p.peekWord())
	switch word {
	case "pi", "π":
		return p.inexact(at, math.Pi)
	case "e":
		return p.inexact(at, math.E)
	}
	least, most := arity(word)
	if most == 0 {
		return Value{}, p.fail(at, "unknown name %q: there are pi, e, sqrt, abs, round, floor, ceil, min, max, log, ln, exp, sin, cos, tan", word)
	}
	if p.operator("(") == "" {
		return Value{}, p.fail(p.at, `expected "(" after %s, found %s`, word, p.found())
	}
	var args []Value
	for {
		v, err := p.inside(true)
		if err != nil {
			return Value{}, err
		}
		args = append(args, v)
		if p.operator(",", ";") == "" {
			break
		}
	}
	if p.operator(")") == "" {
		return Value{}, p.fail(p.at, `expected an operator, "," or ")", found %s`, p.found())
	}
	if len(args) < least || len(args) > most {
		return Value{}, p.fail(at, "%s takes %d argument(s), got %d; inside a function a comma separates arguments: write 2340, not 2,340", word, least, len(args))
	}
	return p.apply(at, word, args)
}

// arity returns the minimum and maximum number of arguments; 0 for an unknown
// function.
func arity(name string) (least, most int) {
	switch name {
	case "sqrt", "abs", "floor", "ceil", "ln", "exp", "sin", "cos", "tan", "log2", "log10":
		return 1, 1
	case "round", "log":
		return 1, 2
	case "min", "max":
		return 1, MaxLength
	}
	return 0, 0
}

func (p *parser) apply(at int, name string, args []Value) (Value, error) {
	x := args[0]
	switch name {
	case "abs":
		return Value{new(big.Rat).Abs(x.r), x.Rounded}, nil
	case "floor":
		return Value{new(big.Rat).SetInt(floor(x.r)), false}, nil
	case "ceil":
		up := floor(new(big.Rat).Neg(x.r))
		return Value{new(big.Rat).SetInt(up.Neg(up)), false}, nil
	case "min", "max":
		for _, y := range args[1:] {
			if c := y.r.Cmp(x.r); (name == "min" && c < 0) || (name == "max" && c > 0) {
				x = y
			}
		}
		return x, nil
	case "round":
		return p.round(at, args)
	case "sqrt":
		return p.squareRoot(at, x)
	case "ln", "log", "log2", "log10":
		return p.logarithm(at, name, args)
	}
	if x.r.Sign() == 0 { // the exact values
		if name == "exp" || name == "cos" {
			return Value{big.NewRat(1, 1), x.Rounded}, nil
		}
		return Value{new(big.Rat), x.Rounded}, nil
	}
	f, _ := x.r.Float64()
	switch name {
	case "exp":
		return p.inexact(at, math.Exp(f))
	case "sin":
		return p.inexact(at, quiet(math.Sin(f)))
	case "cos":
		return p.inexact(at, quiet(math.Cos(f)))
	}
	if quiet(math.Cos(f)) == 0 {
		return Value{}, p.fail(at, "tan has no value here: the cosine is 0")
	}
	return p.inexact(at, quiet(math.Tan(f)))
}

// quiet rounds to zero the error of float64, as in sin(pi).
func quiet(f float64) float64 {
	if math.Abs(f) < 1e-15 {
		return 0
	}
	return f
}

func (p *parser) round(at int, args []Value) (Value, error) {
	digits := 0
	if len(args) == 2 {
		d := args[1].r
		if !d.IsInt() || !d.Num().IsInt64() || d.Num().Int64() < -100 || d.Num().Int64() > 100 {
			return Value{}, p.fail(at, "round wants a whole number of digits from -100 to 100")
		}
		digits = int(d.Num().Int64())
	}
	scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(digits, -digits))), nil))
	if digits < 0 {
		scale.Inv(scale)
	}
	// Round half away from zero, as people do.
	r := new(big.Rat).Abs(args[0].r)
	r.Add(r.Mul(r, scale), big.NewRat(1, 2))
	r.Quo(new(big.Rat).SetInt(floor(r)), scale)
	if args[0].r.Sign() < 0 {
		r.Neg(r)
	}
	return p.bounded(at, Value{r, false})
}

func (p *parser) squareRoot(at int, x Value) (Value, error) {
	if x.r.Sign() < 0 {
		return Value{}, p.fail(at, "the square root of a negative number is not real")
	}
	num, den := new(big.Int).Sqrt(x.r.Num()), new(big.Int).Sqrt(x.r.Denom())
	root := new(big.Rat).SetFrac(num, den)
	if new(big.Rat).Mul(root, root).Cmp(x.r) == 0 {
		return Value{root, x.Rounded}, nil
	}
	f := new(big.Float).SetPrec(roundedWidth).SetRat(x.r)
	f.Sqrt(f).Rat(root)
	return p.bounded(at, Value{root, true})
}

func (p *parser) logarithm(at int, name string, args []Value) (Value, error) {
	x := args[0]
	base := Value{r: big.NewRat(10, 1)}
	switch {
	case len(args) == 2:
		base = args[1]
	case name == "log2":
		base.r = big.NewRat(2, 1)
	case name == "ln":
		base = Value{new(big.Rat).SetFloat64(math.E), true}
	}
	one := big.NewRat(1, 1)
	if x.r.Sign() <= 0 || base.r.Sign() <= 0 || base.r.Cmp(one) == 0 {
		return Value{}, p.fail(at, "%s wants a positive number and a positive base other than 1", name)
	}
	if x.r.Cmp(one) == 0 {
		return Value{new(big.Rat), x.Rounded}, nil
	}
	if name == "ln" {
		return p.inexact(at, ln(x.r))
	}
	y := ln(x.r) / ln(base.r)
	if n := math.Round(y); math.Abs(n) <= MaxBits && !x.Rounded && !base.Rounded {
		// log(1000) is 3, not float64's approximation.
		exact := Value{r: new(big.Rat).SetInt64(int64(n))}
		if v, err := p.raise(at, base, exact); err == nil && !v.Rounded && v.r.Cmp(x.r) == 0 {
			return exact, nil
		}
	}
	return p.inexact(at, y)
}

// ln also accepts values beyond the range of float64.
func ln(r *big.Rat) float64 {
	f := new(big.Float).SetPrec(64).SetRat(r)
	mantissa := new(big.Float)
	exponent := f.MantExp(mantissa)
	m, _ := mantissa.Float64()
	if exponent >= -1 && exponent <= 1 { // close to 1 the sum below loses digits
		m, _ = r.Float64()
		return math.Log(m)
	}
	return math.Log(m) + float64(exponent)*math.Ln2
}

// raise returns base ^ exponent; at is the position of the operator.
func (p *parser) raise(at int, base, exponent Value) (Value, error) {
	rounded := base.Rounded || exponent.Rounded
	switch {
	case exponent.r.Sign() == 0:
		return Value{big.NewRat(1, 1), rounded}, nil
	case base.r.Sign() == 0 && exponent.r.Sign() < 0:
		return Value{}, p.fail(at, "division by zero: 0 to a negative power")
	case base.r.Sign() == 0:
		return Value{new(big.Rat), rounded}, nil
	case !exponent.r.IsInt() && base.r.Sign() < 0:
		return Value{}, p.fail(at, "a negative number to a fractional power is not real")
	case exponent.r.Cmp(big.NewRat(1, 2)) == 0:
		return p.squareRoot(at, base)
	}
	if exponent.r.IsInt() && !rounded {
		if r := power(base.r, exponent.r.Num()); r != nil {
			return p.bounded(at, Value{r, false})
		}
	}
	if n := exponent.r.Num(); exponent.r.IsInt() && n.IsInt64() {
		f := longPower(base.r, n.Int64())
		if e := f.MantExp(nil); f.IsInf() || f.Sign() == 0 || e > MaxBits || e < -MaxBits {
			return Value{}, p.tooLarge(at)
		}
		r, _ := f.Rat(nil)
		return p.bounded(at, Value{r, true})
	}
	b, _ := base.r.Float64()
	x, _ := exponent.r.Float64()
	f := math.Pow(b, x)
	if f == 0 {
		return Value{}, p.tooLarge(at)
	}
	return p.inexact(at, f)
}

// longPower squares with far more digits than are printed: with float64,
// (1 + 1e-7) ^ 1e7 would lose all of them.
func longPower(base *big.Rat, n int64) *big.Float {
	if n < 0 {
		base = new(big.Rat).Inv(base)
	}
	square := new(big.Float).SetPrec(256).SetRat(base)
	result := new(big.Float).SetPrec(256).SetInt64(1)
	for m := new(big.Int).Abs(big.NewInt(n)).Uint64(); m > 0; m >>= 1 {
		if m&1 == 1 {
			result.Mul(result, square)
		}
		if m > 1 {
			square.Mul(square, square)
		}
	}
	return result
}

// power returns the exact power, or nil if it would exceed MaxBits.
func power(base *big.Rat, exponent *big.Int) *big.Rat {
	if base.IsInt() && base.Num().IsInt64() {
		switch base.Num().Int64() {
		case 1:
			return big.NewRat(1, 1)
		case -1:
			if exponent.Bit(0) == 0 {
				return big.NewRat(1, 1)
			}
			return big.NewRat(-1, 1)
		}
	}
	n := new(big.Int).Abs(exponent)
	bits := max(base.Num().BitLen(), base.Denom().BitLen()) - 1
	if !n.IsInt64() || n.Int64() > MaxBits || n.Int64()*int64(bits) > MaxBits {
		return nil
	}
	r := new(big.Rat).SetFrac(new(big.Int).Exp(base.Num(), n, nil), new(big.Int).Exp(base.Denom(), n, nil))
	if exponent.Sign() < 0 {
		r.Inv(r)
	}
	return r
}
