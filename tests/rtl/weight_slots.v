// Memory, weight engine and the two slots of weight SRAM: tiles go through one after another, tile
// i into slot i mod 2.  A load waits until the array is done with the slot, the array until the
// slot is full; nothing else couples them.

module weight_slots #(
    parameter DECODER_LANES = 4,
    parameter WORDS = 2,
    parameter PORT_CODES = 64,
    parameter IS_ZERO_RUN = 0,
    parameter OUTSTANDING = 8,
    parameter FIFO_BURSTS = 8,
    parameter DRAM_BANKS = 8,
    parameter LANES = 8,
    parameter BANK_BITS = 10,
    parameter JOB_BITS = 64
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
    output wire                              data_valid,
    output wire [31:0]                       data_burst,
    input  wire [DECODER_LANES*WORDS*64-1:0] data,
    // Tiles, each with what the array has to know of it.
    input  wire                              tile_valid,
    output wire                              tile_ready,
    input  wire [31:0]                       tile_first_burst,
    input  wire [31:0]                       tile_bursts,
    input  wire [31:0]                       tile_table_bursts,
    input  wire [15:0]                       tile_rows_of_lane,
    input  wire [15:0]                       tile_groups,
    input  wire [3:0]                        tile_width,
    input  wire [JOB_BITS-1:0]               tile_job,
    output wire                              loaded,
    // The array.
    output wire                              job_valid,
    input  wire                              job_ready,
    output wire [JOB_BITS-1:0]               job,
    output wire [BANK_BITS-1:0]              job_base,
    input  wire                              job_done,
    output wire [2*LANES-1:0]                write_enable,
    output wire [2*LANES*(BANK_BITS-1)-1:0]  write_address,
    output wire [2*LANES*128-1:0]            write_data
);
    wire request_valid, request_ready, engine_ready;
    wire [31:0] request_burst;

    // Slots: `load_slot` is the next to be filled, `mac_slot` the next to be used.
    reg [1:0] in_use, full;
    reg load_slot, mac_slot, filling, using;
    reg [JOB_BITS-1:0] jobs [0:1];
    wire [BANK_BITS-1:0] half = 1 << (BANK_BITS - 1);
    wire begins = tile_valid && tile_ready;
    wire starts = job_valid && job_ready;

    assign tile_ready = engine_ready && !in_use[load_slot];
    assign job_valid = full[mac_slot] || (loaded && filling == mac_slot);
    assign job = jobs[mac_slot];
    assign job_base = mac_slot ? half : 0;

    always @(posedge clk)
        if (reset) begin
            in_use <= 0;
            full <= 0;
            load_slot <= 1'b0;
            mac_slot <= 1'b0;
        end else begin
            if (job_done) in_use[using] <= 1'b0;
            if (loaded) full[filling] <= 1'b1;
            if (begins) begin
                in_use[load_slot] <= 1'b1;
                filling <= load_slot;
                load_slot <= !load_slot;
                jobs[load_slot] <= tile_job;
            end
            if (starts) begin
                full[mac_slot] <= 1'b0;
                using <= mac_slot;
                mac_slot <= !mac_slot;
            end
        end

    memory #(.CHANNELS(1), .BANKS(DRAM_BANKS)) memory_i (
        .clk(clk), .reset(reset), .ticks(ticks), .burst(burst), .latency(latency),
        .row_bursts(row_bursts), .row_miss(row_miss), .refresh_every(refresh_every),
        .refresh(refresh), .refresh_closes_rows(1'b0), .request_valid(request_valid),
        .request_ready(request_ready), .request_burst(request_burst), .stall(stall),
        .data_valid(data_valid), .data_burst(data_burst)
    );

    weight_engine #(
        .LANES(DECODER_LANES), .WORDS(WORDS), .PORT_CODES(PORT_CODES),
        .IS_ZERO_RUN(IS_ZERO_RUN), .OUTSTANDING(OUTSTANDING), .FIFO_BURSTS(FIFO_BURSTS),
        .MAC_LANES(LANES), .ADDRESS_BITS(BANK_BITS)
    ) weight_engine_i (
        .clk(clk), .reset(reset), .tile_valid(tile_valid && !in_use[load_slot]),
        .tile_ready(engine_ready), .tile_first_burst(tile_first_burst),
        .tile_bursts(tile_bursts), .tile_table_bursts(tile_table_bursts),
        .tile_rows_of_lane(tile_rows_of_lane), .tile_groups(tile_groups),
        .tile_width(tile_width), .tile_base(load_slot ? half : 0), .tile_done(loaded),
        .request_valid(request_valid), .request_ready(request_ready),
        .request_burst(request_burst), .data_valid(data_valid), .data(data),
        .write_enable(write_enable), .write_address(write_address), .write_data(write_data)
    );
endmodule
