// Memory, weight engine, double-buffered weight SRAM and MAC array (outer dataflow).
//
// A tile lies in memory as the array's banks hold it: lane by lane, column by column, scan by scan.
// Activations of all tiles are in activation SRAM before; a tile's sums are read before the array
// takes the next one.

module pipeline_outer #(
    parameter DECODER_LANES = 4,
    parameter WORDS = 2,
    parameter PORT_CODES = 64,
    parameter IS_ZERO_RUN = 0,
    parameter OUTSTANDING = 8,
    parameter FIFO_BURSTS = 8,
    parameter DRAM_BANKS = 8,
    parameter LANES = 8,
    parameter MACS = 4,
    parameter QUEUE_DEPTH = 4,
    parameter SKIP_WEIGHTS = 1,
    parameter SKIP_ACTIVATIONS = 0,
    parameter BANK_BITS = 10,
    parameter SUM_BITS = 5,
    parameter COLUMN_BITS = 7,
    parameter ROW_BITS = 6
) (
    input  wire                              clk,
    input  wire                              reset,
    input  wire [31:0]                       ticks,
    input  wire [31:0]                       burst,
    input  wire [31:0]                       latency,
    input  wire [31:0]                       row_bursts,
    input  wire [31:0]                       row_miss,
    input  wire [31:0]                       refresh_every,
    input  wire [31:0]                       refresh,
    input  wire                              stall,
    // What the memory holds.
    output wire                              data_valid,
    output wire [31:0]                       data_burst,
    input  wire [DECODER_LANES*WORDS*64-1:0] data,
    // Tiles.
    input  wire                              tile_valid,
    output wire                              tile_ready,
    input  wire [31:0]                       tile_first_burst,
    input  wire [31:0]                       tile_bursts,
    input  wire [31:0]                       tile_table_bursts,
    input  wire [15:0]                       tile_rows_of_lane,
    input  wire [15:0]                       tile_groups,
    input  wire [3:0]                        tile_width,
    input  wire [15:0]                       tile_activation_rows,
    input  wire [15:0]                       tile_first_row,
    input  wire [15:0]                       tile_columns,
    input  wire [15:0]                       tile_outputs,
    input  wire [15:0]                       tile_scans,
    output wire                              loaded,
    // Activation SRAM and accumulators.
    input  wire                              act_write_enable,
    input  wire [ROW_BITS-1:0]               act_write_row,
    input  wire [COLUMN_BITS-1:0]            act_write_column,
    input  wire [7:0]                        act_write_data,
    input  wire [SUM_BITS-1:0]               sum_address,
    output wire [LANES*16*32-1:0]            sum_data,
    output wire                              job_done
);
    wire is_full, mac_ready;
    wire [15:0] rows, first_row, columns, outputs, scans;
    wire [BANK_BITS-1:0] base;
    wire [2*LANES-1:0] write_enable;
    wire [2*LANES*(BANK_BITS-1)-1:0] write_address;
    wire [2*LANES*128-1:0] write_data;

    weight_slots #(
        .DECODER_LANES(DECODER_LANES), .WORDS(WORDS), .PORT_CODES(PORT_CODES),
        .IS_ZERO_RUN(IS_ZERO_RUN), .OUTSTANDING(OUTSTANDING), .FIFO_BURSTS(FIFO_BURSTS),
        .DRAM_BANKS(DRAM_BANKS), .LANES(LANES), .BANK_BITS(BANK_BITS), .JOB_BITS(80)
    ) weight_slots_i (
        .clk(clk), .reset(reset), .ticks(ticks), .burst(burst), .latency(latency),
        .row_bursts(row_bursts), .row_miss(row_miss), .refresh_every(refresh_every),
        .refresh(refresh), .stall(stall), .data_valid(data_valid), .data_burst(data_burst),
        .data(data), .tile_valid(tile_valid), .tile_ready(tile_ready),
        .tile_first_burst(tile_first_burst), .tile_bursts(tile_bursts),
        .tile_table_bursts(tile_table_bursts), .tile_rows_of_lane(tile_rows_of_lane),
        .tile_groups(tile_groups), .tile_width(tile_width),
        .tile_job({tile_activation_rows, tile_first_row, tile_columns, tile_outputs, tile_scans}),
        .loaded(loaded), .job_valid(is_full), .job_ready(mac_ready),
        .job({rows, first_row, columns, outputs, scans}), .job_base(base), .job_done(job_done),
        .write_enable(write_enable), .write_address(write_address), .write_data(write_data)
    );

    mac_array_outer #(
        .LANES(LANES), .MACS(MACS), .WINDOW(16), .QUEUE_DEPTH(QUEUE_DEPTH), .WEIGHT_BITS(8),
        .HALVES(1), .SKIP_WEIGHTS(SKIP_WEIGHTS), .SKIP_ACTIVATIONS(SKIP_ACTIVATIONS),
        .BANK_BITS(BANK_BITS), .SUM_BITS(SUM_BITS), .COLUMN_BITS(COLUMN_BITS),
        .ROW_BITS(ROW_BITS)
    ) mac_array (
        .clk(clk), .reset(reset), .job_valid(is_full), .job_ready(mac_ready), .job_rows(rows),
        .job_columns(columns), .job_outputs(outputs), .job_scans(scans), .job_base(base),
        .job_first_row(first_row[ROW_BITS-1:0]), .job_done(job_done),
        .write_enable(write_enable), .write_address(write_address), .write_data(write_data),
        .act_write_enable(act_write_enable), .act_write_row(act_write_row),
        .act_write_column(act_write_column), .act_write_data(act_write_data), .act_stall(1'b0),
        .sum_address(sum_address), .sum_data(sum_data)
    );
    wire unused = &{1'b0, first_row};
endmodule
