// Package strictyaml reads YAML that people write into the types of the API, and
// says of everything that does not fit on which line it stands: unknown fields,
// fields given twice, values of another kind, fields that are missing. It follows
// the JSON names of the types, so that a new field of the API needs nothing here.
//
// What is text in the type is taken as it is written: `version: 3.10` is the text
// 3.10, not a number that has lost its zero. A field without a value is not there.
// Anchors, aliases and merge keys work. Start with Parse.
package strictyaml
