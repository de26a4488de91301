// What the tests need of the inside.

package consensus

// Checksum is the checksum of a record.
var Checksum = checksum
