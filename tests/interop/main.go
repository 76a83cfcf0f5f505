// Verifies an audit log and a receipt with Go's own implementation of transparent logs
// (golang.org/x/mod/sumdb/tlog and note), which shares no code with ours.
//
//	main DIRECTORY RECEIPT EARLIER
//
// DIRECTORY is the log's, RECEIPT a file of `groundcrew audit prove`, EARLIER an older checkpoint. What
// fits is printed as one line; anything else ends with code 1 and says what does not.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	check(err, "reading")
	return data
}

// A checkpoint is three lines: origin, size, root. (c2sp.org/tlog-checkpoint)
func open(signed string, verifier note.Verifier) tlog.Tree {
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	check(err, "the checkpoint's signature")
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		check(fmt.Errorf("%q", opened.Text), "the checkpoint's lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "the checkpoint's size")
	root, err := tlog.ParseHash(lines[2])
	check(err, "the checkpoint's root")
	return tlog.Tree{N: size, Hash: root}
}

// Tiles in the layout of c2sp.org/tlog-tiles: Go's paths without the height, which is always 8.
type tiles struct{ directory string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.directory, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// The leaves, out of the bundles of entries: each with its length before it.
func leaves(directory string, size int64) [][]byte {
	var all [][]byte
	for n := int64(0); int64(len(all)) < size; n++ {
		width := size - n*256
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: 8, L: 0, N: n, W: int(width)}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		data := read(filepath.Join(directory, path))
		for len(data) >= 2 {
			length := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
	}
	return all
}

func main() {
	directory, receiptPath, earlierPath := os.Args[1], os.Args[2], os.Args[3]
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(filepath.Join(directory, "key.pub")))))
	check(err, "the key")
	tree := open(string(read(filepath.Join(directory, "checkpoint"))), verifier)

	// Every leaf is the one that the tiles have, and the tiles lead to the signed root.
	reader := tlog.TileHashReader(tree, tiles{directory})
	all := leaves(directory, tree.N)
	var indexes []int64
	for n := range all {
		indexes = append(indexes, tlog.StoredHashIndex(0, int64(n)))
	}
	hashes, err := reader.ReadHashes(indexes)
	check(err, "the tiles")
	for n, leaf := range all {
		if tlog.RecordHash(leaf) != hashes[n] {
			check(fmt.Errorf("leaf %d", n), "a leaf is not the tiles'")
		}
	}

	// The earlier log is the beginning of this one.
	earlier := open(string(read(earlierPath)), verifier)
	proof, err := tlog.ProveTree(tree.N, earlier.N, reader)
	check(err, "proving the earlier tree")
	check(tlog.CheckTree(proof, tree.N, tree.Hash, earlier.N, earlier.Hash), "the earlier tree")

	// The receipt's proof leads from its last leaf to a signed root. (c2sp.org/tlog-proof)
	var receipt struct {
		Leaves []string
		Proof  string
	}
	check(json.Unmarshal(read(receiptPath), &receipt), "the receipt")
	parts := strings.SplitN(receipt.Proof, "\n\n", 2)
	lines := strings.Split(parts[0], "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" {
		check(fmt.Errorf("%q", lines[0]), "the proof's form")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	check(err, "the proof's index")
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		data, err := base64.StdEncoding.DecodeString(line)
		check(err, "the proof's path")
		var hash tlog.Hash
		copy(hash[:], data)
		path = append(path, hash)
	}
	signed := open(parts[1], verifier)
	last := tlog.RecordHash([]byte(receipt.Leaves[len(receipt.Leaves)-1]))
	check(tlog.CheckRecord(path, signed.N, signed.Hash, index, last), "the receipt's proof")
	// And it is the proof that Go would have given.
	same, err := tlog.ProveRecord(tree.N, index, reader)
	check(err, "proving the record")
	if signed.N == tree.N && fmt.Sprint(same) != fmt.Sprint(path) {
		check(fmt.Errorf("%v, not %v", path, same), "the receipt's path")
	}
	fmt.Printf("%d leaves, %d before, index %d\n", tree.N, earlier.N, index)
}
