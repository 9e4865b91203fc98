// From lists of labelled pictures, in files or in shards, to the splits of a data set.
#pragma once

#include <string>
#include <vector>

#include "tools/data/image_folder.h"

namespace tapescope {

class KnownPictures;

class PictureSet {
 public:
  // splits.path is the root of what is added.
  PictureSet(const DataOptions& options, DataSplits& splits) : options_(options), splits_(splits) {}

  // Of one split, whose place is called `name`; labels are of splits.classes. `filled`: a class
  // without a picture is an error, and not only told.
  void add(Part part, std::string name, std::vector<ImageFile> files, bool filled);
  // Looks at every picture, leaves out the bad ones where that is wished, and fills in the splits.
  // Throws a usage error for a split without pictures.
  void finish();

 private:
  struct Place {
    Part part;
    std::string name;
    std::vector<ImageFile> files;
    bool filled;
  };
  void leave_out_bad(Place& place, const KnownPictures& known, std::size_t position,
                     OddPictures& odd, PictureRoom& room);
  void tell_empty_classes(const Place& place);
  const DataOptions& options_;
  DataSplits& splits_;
  std::vector<Place> places_;
};

}  // namespace tapescope
