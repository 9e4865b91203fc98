// From a folder of class folders to shards (shards.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tapescope {

struct ShardRequest {
  std::filesystem::path data, out;
  std::int64_t shard_bytes = std::int64_t{256} << 20;  // a shard is at most so long, or one sample
};

struct ShardedPart {
  std::string folder;  // "train", "val", "test"; empty: the shards lie in `out` itself
  std::int64_t pictures = 0, shards = 0, bytes = 0;
};
struct ShardedData {
  std::vector<std::string> classes;
  std::vector<ShardedPart> parts;
  std::vector<std::string> notices;  // sentences about what is in `data` besides
};

// Writes out/{train,val,test}/NNNNNN.tar as the folder has these splits, else out/NNNNNN.tar, and
// classnames.txt. Samples are in the folder's order, so that a training on either sees the same: of
// CLASS/NAME.JPG the members CLASS/NAME.jpg, its bytes as they are, and CLASS/NAME.cls, its class's
// number. Dots in names become _, since a key ends at the first; what is no UTF-8 is escaped; names
// that are too long for tar end in their hash. The same folder makes the same bytes.
//
// All is written beside `out` and renamed at the end: it is whole or not there. `told` is called
// with the number of pictures written so far and of all. Throws a usage error for an `out` that is
// not empty, a folder without class folders, or a picture that cannot be read; a failure where the
// disk is full.
ShardedData write_shards(const ShardRequest& request,
                         const std::function<void(std::int64_t, std::int64_t)>& told = {});

}  // namespace tapescope
