// Package authn knows how credentials are made and checked: password hashes,
// token secrets, and how fast passwords may be guessed.
//
// It stores nothing and knows no users; organizations puts it to use. Start with
// password.go.
package authn
