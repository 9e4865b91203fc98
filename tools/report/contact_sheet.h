// Many pictures on one sheet.
#pragma once

#include <string>
#include <vector>

#include "tools/data/image.h"

namespace tapescope {

struct SheetCell {
  Image image;        // 1 or 3 channels, any size; empty: the cell shows its label only
  std::string label;  // one line under the picture; cut where it is too long
};

struct SheetOptions {
  int columns = 0;         // 0: about as many as rows
  int cell_size = 0;       // pixels of a cell's longer side; 0: the largest picture's, at least 96
  std::string title = {};  // one line at the top; none where empty
};

// A grid, row by row. Small pictures are enlarged by a whole factor with sharp pixels, large ones
// reduced; proportions stay. Throws a usage error on no cells.
Image contact_sheet(const std::vector<SheetCell>& cells, const SheetOptions& options = {});

}  // namespace tapescope
