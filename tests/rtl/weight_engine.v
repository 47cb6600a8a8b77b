// DMA, burst FIFO and decoder as one engine: it streams a tile's bursts into one slot of the weight
// SRAM, and begins the next tile when the last code of this one is written.
//
// Each burst holds LANES times WORDS words of 64 bits, WORDS of each lane's stream; the tile's first
// bursts hold the palette.  Rows of the tile go to the MAC lanes in rotation, one further with each
// pass, so that lanes that decode different passes write to different banks; even and odd words of a
// MAC lane lie in two banks, so that two lanes in step on one MAC lane soon stop to be in each
// other's way.

module weight_engine #(
    parameter LANES = 4,
    parameter WORDS = 2,   // LANES * WORDS is 8: a burst of 64 bytes
    parameter PORT_CODES = 64,
    parameter IS_ZERO_RUN = 0,
    parameter OUTSTANDING = 8,
    parameter FIFO_BURSTS = 8,
    parameter MAC_LANES = 8,
    parameter ADDRESS_BITS = 10
) (
    input  wire                           clk,
    input  wire                           reset,
    // A tile of `tile_rows_of_lane` rows for each lane, each of `tile_groups` groups of 16 codes.
    input  wire                           tile_valid,
    output wire                           tile_ready,
    input  wire [31:0]                    tile_first_burst,
    input  wire [31:0]                    tile_bursts,
    input  wire [31:0]                    tile_table_bursts,
    input  wire [15:0]                    tile_rows_of_lane,
    input  wire [15:0]                    tile_groups,
    input  wire [3:0]                     tile_width,
    input  wire [ADDRESS_BITS-1:0]        tile_base,
    output wire                           tile_done,
    // Memory.
    output wire                           request_valid,
    input  wire                           request_ready,
    output wire [31:0]                    request_burst,
    input  wire                           data_valid,
    input  wire [LANES*WORDS*64-1:0]      data,
    // Weight SRAM.
    output reg  [2*MAC_LANES-1:0]         write_enable,
    output reg  [2*MAC_LANES*(ADDRESS_BITS-1)-1:0] write_address,
    output reg  [2*MAC_LANES*128-1:0]     write_data
);
    localparam BANK_BITS = $clog2(2 * MAC_LANES);

    // The tile under way: first its table, then its codes, then the padding of its last burst.
    reg active, decoding, decoded, use_table;
    reg [31:0] table_bursts, table_burst, num_codes, segment;
    reg [15:0] groups;
    reg [3:0] width;
    reg [ADDRESS_BITS-1:0] base;
    wire dma_ready, dma_done, decoder_ready, decoder_done;
    reg dma_over;
    wire begins = tile_valid && tile_ready;
    wire loads_table = active && table_burst != table_bursts;
    wire [31:0] begun_segment = 32'(tile_rows_of_lane) * 32'(tile_groups) * 16;
    wire starts_decoder = begins ? tile_table_bursts == 0
        : active && !decoding && !decoded && !loads_table;

    assign tile_done = active && decoded && (dma_over || dma_done);
    assign tile_ready = (!active || tile_done) && dma_ready;

    always @(posedge clk)
        if (reset) begin
            active <= 1'b0;
            decoding <= 1'b0;
            decoded <= 1'b0;
            dma_over <= 1'b0;
        end else if (begins) begin
            active <= 1'b1;
            decoding <= starts_decoder;
            decoded <= 1'b0;
            dma_over <= 1'b0;
            table_burst <= 0;
            table_bursts <= tile_table_bursts;
            use_table <= tile_table_bursts != 0;
            groups <= tile_groups;
            width <= tile_width;
            base <= tile_base;
            segment <= begun_segment;
            num_codes <= begun_segment * LANES;
        end else begin
            if (tile_done) active <= 1'b0;
            if (dma_done) dma_over <= 1'b1;
            if (takes_table) table_burst <= table_burst + 1;
            if (starts_decoder) decoding <= 1'b1;
            if (decoder_done) begin
                decoding <= 1'b0;
                decoded <= 1'b1;
            end
        end

    // Bursts leave the FIFO when every lane has taken its words.
    wire [LANES-1:0] word_valid, lane_ready, lane_pop, released;
    wire [LANES*64-1:0] words;
    reg [7:0] lane_released [0:LANES-1];
    wire [LANES-1:0] is_ahead;
    wire consumed = &is_ahead;

    dma #(.OUTSTANDING(OUTSTANDING), .FIFO_BURSTS(FIFO_BURSTS)) dma_i (
        .clk(clk), .reset(reset), .job_valid(begins), .job_ready(dma_ready),
        .job_first(tile_first_burst), .job_count(tile_bursts), .job_done(dma_done),
        .request_valid(request_valid), .request_ready(request_ready),
        .request_burst(request_burst), .data_valid(data_valid), .consumed({7'b0, consumed})
    );

    wire takes_table = loads_table && word_valid[0];  // a burst comes to all lanes at once
    wire [511:0] oldest_burst;
    wire [LANES*5-1:0] write_counts;
    wire [LANES*128-1:0] write_groups;
    wire [LANES-1:0] write;
    wire [LANES*BANK_BITS-1:0] banks;

    decoder #(
        .LANES(LANES), .PORT_CODES(PORT_CODES), .IS_ZERO_RUN(IS_ZERO_RUN), .BANK_BITS(BANK_BITS)
    ) decoder_i (
        .clk(clk), .reset(reset), .job_valid(starts_decoder), .job_ready(decoder_ready),
        .job_count(begins ? begun_segment * LANES : num_codes),
        .job_segment(begins ? begun_segment : segment),
        .job_width(begins ? tile_width : width), .job_use_table(use_table),
        .job_done(decoder_done), .table_write(takes_table),
        .table_index(table_burst[1:0]), .table_values(oldest_burst),
        .word_valid(loads_table ? 0 : word_valid), .word_ready(lane_ready), .words(words),
        .write(write), .write_groups(write_groups), .write_counts(write_counts),
        .write_banks(banks)
    );

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            assign lane_pop[lane] = !loads_table && (decoded || lane_ready[lane]);
            lane_fifo #(.WORDS(WORDS), .BURSTS(FIFO_BURSTS)) fifo (
                .clk(clk), .reset(reset), .push(data_valid),
                .push_words(data[lane*WORDS*64 +: WORDS*64]), .word_valid(word_valid[lane]),
                .word_ready(lane_pop[lane]), .word(words[lane*64 +: 64]),
                .take_burst(takes_table), .burst(oldest_burst[lane*WORDS*64 +: WORDS*64]),
                .released(released[lane])
            );
            assign is_ahead[lane] = lane_released[lane] != 0 || released[lane];
            always @(posedge clk)
                if (reset) lane_released[lane] <= 0;
                else lane_released[lane] <= lane_released[lane] + 8'(released[lane])
                    - 8'(consumed);

            // Where the lane's next group goes.
            reg [15:0] row, group;
            wire [15:0] pass = row / 16'(MAC_LANES);
            wire [15:0] first = tile_rows_of_lane * lane;
            wire [15:0] mac_lane = (row + pass) % 16'(MAC_LANES);
            wire [ADDRESS_BITS-1:0] address = base + ADDRESS_BITS'(32'(pass) * 32'(groups))
                + ADDRESS_BITS'(group);
            assign banks[lane*BANK_BITS +: BANK_BITS] = BANK_BITS'({mac_lane, address[0]});
            always @(posedge clk)
                if (begins) begin
                    row <= first;
                    group <= 0;
                end else if (write[lane]) begin
                    group <= (group + 1 == groups) ? 0 : group + 1'b1;
                    if (group + 1 == groups) row <= row + 1'b1;
                end
        end
    endgenerate

    integer i;
    wire [LANES*(ADDRESS_BITS-1)-1:0] addresses;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : places
            assign addresses[lane*(ADDRESS_BITS-1) +: ADDRESS_BITS-1]
                = lanes[lane].address[ADDRESS_BITS-1:1];
        end
    endgenerate
    always @(*) begin
        write_enable = 0;
        write_address = 0;
        write_data = 0;
        for (i = 0; i < LANES; i = i + 1)
            if (write[i]) begin
                write_enable[banks[i*BANK_BITS +: BANK_BITS]] = 1'b1;
                write_address[banks[i*BANK_BITS +: BANK_BITS]*(ADDRESS_BITS-1) +: ADDRESS_BITS-1]
                    = addresses[i*(ADDRESS_BITS-1) +: ADDRESS_BITS-1];
                write_data[banks[i*BANK_BITS +: BANK_BITS]*128 +: 128]
                    = write_groups[i*128 +: 128];
            end
    end
    wire unused = &{1'b0, decoder_ready, write_counts};
endmodule
