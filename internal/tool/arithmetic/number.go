package arithmetic

import (
	"math/big"
	"strconv"
	"strings"
)

// maxExponent bounds the exponent of a literal such as 1e9.
const maxExponent = 1000

// number parses a literal: digits, an optional fraction and an optional
// exponent. Commas group digits where they do not separate arguments.
func (p *parser) number() (Value, error) {
	start := p.at
	whole := p.digits()
	text := whole
	for !p.call && p.groupFollows() {
		comma := p.at
		p.at++
		group := p.digits()
		if len(whole) > 3 || whole == "" || len(group) != 3 {
			return Value{}, p.fail(comma, "a comma groups thousands (2,340) and %q is no such number: write decimals with a point", p.text[start:p.at])
		}
		text += group
	}
	if strings.HasPrefix(p.text[p.at:], ".") {
		p.at++
		fraction := p.digits()
		if fraction == "" {
			return Value{}, p.fail(p.at, `expected digits after ".", found %s`, p.found())
		}
		text += "." + fraction
	}
	exponent, err := p.exponent()
	if err != nil {
		return Value{}, err
	}
	r, ok := new(big.Rat).SetString(text + exponent)
	if !ok {
		return Value{}, p.fail(start, "%q is not a number", text+exponent)
	}
	return p.bounded(start, Value{r: r})
}

func (p *parser) digits() string {
	rest := p.text[p.at:]
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	p.at += end
	return rest[:end]
}

func (p *parser) groupFollows() bool {
	rest := p.text[p.at:]
	return len(rest) > 1 && rest[0] == ',' && rest[1] >= '0' && rest[1] <= '9'
}

// exponent parses e9, e+9 or e-9 directly after a number's digits; "2 e" is
// left to the caller.
func (p *parser) exponent() (string, error) {
	start := p.at
	rest := p.text[p.at:]
	if rest == "" || (rest[0] != 'e' && rest[0] != 'E') {
		return "", nil
	}
	p.at++
	sign := ""
	if next := p.text[p.at:]; next != "" && (next[0] == '+' || next[0] == '-') {
		sign = next[:1]
		p.at++
	}
	digits := p.digits()
	if digits == "" {
		p.at = start
		return "", nil
	}
	if n, err := strconv.Atoi(digits); err != nil || n > maxExponent {
		return "", p.fail(start, "the exponent %s%s is out of range: at most %d", sign, digits, maxExponent)
	}
	return "e" + sign + digits, nil
}
