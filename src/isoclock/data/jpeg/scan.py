"""One scan of a JPEG file, read as strictly as its format allows (ITU-T T.81, annexes F and G), compiled with numba.

libjpeg and its relatives replace what they cannot read by grey and accept coefficients beyond the 64th; here both are faults.
"""

from __future__ import annotations

from typing import Any

from isoclock.data.jpeg.bits import (
    BAD_CODE,
    ENDS_EARLY,
    LEFT_OVER,
    OUT_OF_RANGE,
    TOO_LONG,
    bits,
    compiled,
    end_of_segment,
    number,
    symbol,
)

# The largest coefficients, times their quantisation step, that 8-bit pixels can have: 8 * 128 for the mean of a block, 928 for
# others, and a quarter more for encoders that overshoot at white edges (mozjpeg). Rounding may add a step.
_MEAN, _OTHER = 1024, 1160


@compiled
def _difference(data: Any, at: Any, mean_codes: Any) -> int:
    """The mean of a block minus that of the block before it, or a fault."""
    size = symbol(data, at, mean_codes)
    if size < 0:
        return size
    return number(data, at, size) if size <= 11 else BAD_CODE


@compiled
def _whole_block(data: Any, at: Any, mean_codes: Any, codes: Any, steps: Any, before: int) -> int:
    """The mean of a block of a sequential scan, or a fault."""
    difference = _difference(data, at, mean_codes)
    if difference <= ENDS_EARLY:
        return difference
    mean = before + difference
    if abs(mean) * steps[0] > _MEAN + steps[0]:
        return OUT_OF_RANGE
    k = 1
    while k < 64:
        found = symbol(data, at, codes)
        if found < 0:
            return found
        run, size = found >> 4, found & 15
        if size == 0:
            if run == 0:
                break
            if run != 15:
                return BAD_CODE
            k += 16
            if k > 63:
                return TOO_LONG
            continue
        k += run
        if k > 63:
            return TOO_LONG
        value = number(data, at, size)
        if value == ENDS_EARLY:
            return ENDS_EARLY
        if abs(value) * steps[k] > _OTHER + steps[k]:
            return OUT_OF_RANGE
        k += 1
    return mean


@compiled
def _first_pass(data: Any, at: Any, codes: Any, steps: Any, block: Any, band: Any, run_left: int) -> int:
    """Number of following blocks without coefficients, or a fault: coefficients of a block of a progressive scan."""
    if run_left > 0:
        return run_left - 1
    first, last, low = band[0], band[1], band[3]
    k = first
    while k <= last:
        found = symbol(data, at, codes)
        if found < 0:
            return found
        run, size = found >> 4, found & 15
        if size == 0:
            if run < 15:
                extra = bits(data, at, run)
                return extra if extra < 0 else (1 << run) + extra - 1
            k += 16
            if k > last:
                return TOO_LONG
            continue
        k += run
        if k > last:
            return TOO_LONG
        value = number(data, at, size)
        if value == ENDS_EARLY:
            return ENDS_EARLY
        if (abs(value) << low) * steps[k] > _OTHER + (steps[k] << low):
            return OUT_OF_RANGE
        block[k] = value << low
        k += 1
    return 0


@compiled
def _correct(data: Any, at: Any, block: Any, k: int, bit: int) -> int:
    found = bits(data, at, 1)
    if found > 0:
        block[k] += bit if block[k] > 0 else -bit
    return found


@compiled
def _refinement(data: Any, at: Any, codes: Any, block: Any, band: Any, run_left: int) -> int:
    """As `_first_pass`, for a scan that adds one bit to coefficients of earlier scans."""
    last, bit = band[1], 1 << band[3]
    k = band[0]
    while run_left == 0 and k <= last:
        found = symbol(data, at, codes)
        if found < 0:
            return found
        zeros, size, value = found >> 4, found & 15, 0
        if size > 1:
            return BAD_CODE
        if size == 1:
            sign = bits(data, at, 1)
            if sign < 0:
                return sign
            value = bit if sign else -bit
        elif zeros < 15:
            extra = bits(data, at, zeros)
            if extra < 0:
                return extra
            run_left = (1 << zeros) + extra
            break
        while k <= last:
            if block[k] != 0:
                if _correct(data, at, block, k, bit) < 0:
                    return ENDS_EARLY
            elif zeros == 0:
                break
            else:
                zeros -= 1
            k += 1
        if k > last:
            return TOO_LONG
        if value != 0:
            block[k] = value
        k += 1
    if run_left == 0:
        return 0
    while k <= last:
        if block[k] != 0 and _correct(data, at, block, k, bit) < 0:
            return ENDS_EARLY
        k += 1
    return run_left - 1


@compiled
def read_scan(
    data: Any, at: Any, parts: Any, tables: Any, steps: Any, blocks: Any, band: Any, units: Any, progressive: bool
) -> int:
    """Read a scan that starts at `at[0]`, and move to the marker that follows it. Returns 0 or a fault.

    `parts` has a row per component of the scan: the first block, blocks a row, blocks (across, down) a unit, tables (mean,
    other) and quantisation table. `band` has the first and last coefficient, the bit of the scan before and that of this one.
    `units` has the units (across, down) and the units between restarts, 0 for none. `blocks` (N, 64) has the coefficients
    of a progressive image.
    """
    means, run_left = [0] * parts.shape[0], 0
    for unit in range(units[0] * units[1]):
        if units[2] > 0 and unit > 0 and unit % units[2] == 0:
            fault = end_of_segment(data, at)
            if fault < 0:
                return fault
            if run_left > 0 or data[at[0] + 1] != 0xD0 + (unit // units[2] - 1) % 8:
                return ENDS_EARLY
            at[0] += 2
            run_left = 0
            for part in range(parts.shape[0]):
                means[part] = 0
        top, left = unit // units[0], unit % units[0]
        for part in range(parts.shape[0]):
            start, stride, across, down, mean_codes, codes, quantised = parts[part]
            for inner in range(across * down):
                at_block = start + (top * down + inner // across) * stride + left * across + inner % across
                if not progressive:
                    found = _whole_block(data, at, tables[mean_codes], tables[4 + codes], steps[quantised], means[part])
                    if found <= ENDS_EARLY:
                        return found
                    means[part] = found
                elif band[0] > 0:
                    if band[2] == 0:
                        run_left = _first_pass(
                            data, at, tables[4 + codes], steps[quantised], blocks[at_block], band, run_left
                        )
                    else:
                        run_left = _refinement(data, at, tables[4 + codes], blocks[at_block], band, run_left)
                    if run_left < 0:
                        return run_left
                elif band[2] > 0:
                    if bits(data, at, 1) < 0:
                        return ENDS_EARLY
                else:
                    difference = _difference(data, at, tables[mean_codes])
                    if difference <= ENDS_EARLY:
                        return difference
                    means[part] += difference
                    step = steps[quantised][0] << band[3]
                    if abs(means[part]) * step > _MEAN + step:
                        return OUT_OF_RANGE
    return LEFT_OVER if run_left > 0 else end_of_segment(data, at)
