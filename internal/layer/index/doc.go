// Package index is the gateway between a build of packages and the site's package
// indexes: an HTTP handler that is served on the loopback of a sandbox.
//
// It leads to the index of each manager and to nothing else. Pages are fetched by
// the server, read, and written anew: links lead through the gateway, and a file
// can be fetched only if a page has named it before. What the site does not allow
// is not shown. With a lock, only what the lock names is shown, and a file whose
// hash is not the lock's is told of. Credentials of an index stay with the server.
//
// What an index sends is foreign bytes, and so is every request: both come from
// programs that a package can have replaced. Pages, files and sessions have
// limits. An index can name files on any host, but none on the server's own
// network unless the index is there itself.
//
// Start at Gateway and Session.
package index
